"""A plan for people to read."""

from omegaconf import DictConfig
from rich.console import Console
from rich.table import Table

from gmpo.planning.fitting import in_words
from gmpo.planning.plan import Plan

WIDE = 120  # columns, where no terminal gives a number
PHASES = {"weight_sync": "weight sync", "log_probs": "log-probs"}


def print_plan(plan: Plan, cfg: DictConfig) -> None:
    """Print arithmetic, memory, time, verdict and assumptions."""
    console = Console(highlight=False)
    console = console if console.is_terminal else Console(width=WIDE, highlight=False)
    console.print(
        f"{cfg.run.name}: {cfg.model.path or cfg.model.name} on {plan.world_size} ranks, {plan.nodes} node(s)"
    )
    console.print(_arithmetic(plan, cfg), _memory(plan), _time(plan))
    for line in _verdict(plan):
        console.print(line, soft_wrap=True)
    hours = cfg.run.steps * plan.step_seconds["step"] / 3600
    console.print(f"{cfg.run.steps} rollout steps take about {_rough(hours)} hours, without validation.")
    grace = cfg.checkpoint.grace
    console.print(
        f"Where a scheduler ends jobs, a step and a checkpoint must fit into checkpoint.grace={grace} seconds."
    )
    console.print("Assumptions:")
    for assumption in plan.assumptions:
        console.print(f"- {assumption}", soft_wrap=True)


def _arithmetic(plan: Plan, cfg: DictConfig) -> Table:
    table = Table(title="a rollout step", title_justify="left", show_header=False)
    updates = (
        f"{plan.prompts_per_step} / {plan.mini_batch_prompts} prompts = {plan.optimizer_steps_per_rollout_step} of "
        f"{plan.mini_batch_prompts * plan.group_size} responses"
    )
    rows = {
        "responses": f"{plan.prompts_per_step} prompts x {plan.group_size} = {plan.responses_per_step}",
        "tokens": f"prompts of at most {plan.max_prompt_tokens}, responses of at most {plan.max_response_tokens}",
        "optimizer steps": updates,
        "each data-parallel group": (
            f"{plan.sequences_per_optimizer_step} sequences of an optimizer step in {plan.micro_batches} "
            f"micro-batch(es), {plan.most_micro_batches} at the maximum length"
        ),
        "mesh": (
            f"{plan.world_size} ranks = {plan.dp_replicate} dp_replicate x {plan.dp_shard} dp_shard x "
            f"{plan.context_parallel} cp; {plan.data_parallel} data-parallel groups"
        ),
        "parameters": f"{plan.parameters:,}, sharded over {plan.fsdp_shard} ranks; "
        f"{plan.active_parameters:,} active for a token",
        "engines": (
            f"{plan.engines} of {plan.tensor_parallel} rank(s); the KV cache of one holds "
            f"{plan.concurrent_sequences['expected']} sequences of the expected length, "
            f"{plan.concurrent_sequences['longest']} of the longest"
        ),
    }
    for name, value in rows.items():
        table.add_row(name, value)
    kept = cfg.checkpoint.keep + (1 if cfg.checkpoint.best is None else 2)  # one more while writing
    disk = f"{kept} checkpoints of {plan.checkpoint_gib:,.3g} GiB at a time, {plan.export_gib:,.3g} GiB for the model"
    table.add_row("disk", disk)
    return table


def _memory(plan: Plan) -> Table:
    of = "each GPU" if plan.gpu_memory_gib is not None else "each process"
    table = Table("GiB", title=f"memory of {of}", title_justify="left")
    for phase in plan.memory_gib:
        table.add_column(PHASES.get(phase, phase), justify="right")
    parts = dict.fromkeys(part for phase in plan.memory_parts_gib.values() for part in phase)
    for part in parts:
        sizes = [phase.get(part, 0.0) for phase in plan.memory_parts_gib.values()]
        table.add_row(part, *(f"{size:.1f}" if size else "" for size in sizes))
    table.add_section()
    table.add_row("all", *(f"{size:.1f}" for size in plan.memory_gib.values()))
    if plan.gpu_memory_gib is not None:
        needed, usable = plan.host_memory_gib["needed"], plan.host_memory_gib["usable"]
        parts_of_host = ", ".join(f"{name} {size:.0f}" for name, size in plan.host_parts_gib.items() if size)
        table.caption = f"a node's own memory: {needed:.0f} of {usable:.0f} GiB that may be used ({parts_of_host})"
        table.caption_justify = "left"
    return table


def _time(plan: Plan) -> Table:
    table = Table("a rollout step", *(PHASES.get(phase, phase) for phase in plan.step_seconds), title_justify="left")
    table.title = "estimated time"
    table.add_row("seconds", *(_rough(seconds) for seconds in plan.step_seconds.values()))
    return table


def _rough(number: float) -> str:
    return f"{number:,.0f}" if number >= 10 else f"{number:.2g}"


def _verdict(plan: Plan) -> list[str]:
    if plan.fits:
        return [f"It fits, with {plan.headroom_gib:.1f} GiB to spare in the fullest phase."]
    return [f"It does not fit: {complaint}" for complaint in plan.complaints] + [in_words(plan.remedy) + "."]
