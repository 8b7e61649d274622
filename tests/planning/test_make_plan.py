"""The plan of each recipe; refusals with their arithmetic; the command."""

import json
import subprocess
import sys

import pytest
from conftest import ENVIRONMENT, ROOT
from hydra import compose, initialize_config_dir
from omegaconf import DictConfig

from gmpo.config import check_recipe
from gmpo.planning.fitting import changed, check_fits, in_words
from gmpo.planning.plan import Plan, make_plan

MESH = ("world_size", "nodes", "data_parallel", "dp_replicate", "dp_shard", "context_parallel", "fsdp_shard")
BATCH = ("prompts_per_step", "group_size", "responses_per_step", "mini_batch_prompts")
BATCH += ("optimizer_steps_per_rollout_step",)
REST = ("tensor_parallel", "engines", "max_prompt_tokens", "max_response_tokens", "gpu_memory_gib", "fits")
PUBLISHED = {
    "qwen2_5_7b_math": ((8, 1, 8, 1, 8, 1, 8), (1024, 5, 5120, 256, 4), (2, 4, 1024, 1024, 80, True)),
    "gmpo_qwen2_5_math_7b": ((8, 1, 8, 1, 8, 1, 8), (128, 8, 1024, 16, 8), (1, 8, 1024, 3000, 80, True)),
    "dapo_qwen2_5_7b": ((64, 8, 16, 2, 8, 4, 32), (512, 16, 8192, 32, 16), (4, 16, 2048, 8192, 80, True)),
    "dapo_qwen3_30b": ((64, 8, 16, 2, 8, 4, 32), (512, 16, 8192, 32, 16), (4, 16, 2048, 8192, 80, True)),
    "qwen3_8b_math": ((8, 1, 8, 1, 8, 1, 8), (1024, 5, 5120, 256, 4), (2, 4, 1024, 2048, 80, True)),
    "qwen2_5_0_5b_gsm8k": ((1, 1, 1, 1, 1, 1, 1), (128, 8, 1024, 32, 4), (1, 1, 512, 512, 24, True)),
}


def composed(*overrides: str) -> DictConfig:
    with initialize_config_dir(str(ROOT / "configs"), version_base="1.3"):
        cfg = compose("train", [*overrides, "run.name=test"])
    check_recipe(cfg)
    return cfg


def command(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "plan.py", *arguments], cwd=ROOT, env=ENVIRONMENT, capture_output=True, text=True, timeout=120
    )


def figures(plan: Plan | dict, names: tuple[str, ...]) -> tuple:
    found = plan if isinstance(plan, dict) else plan.to_json()
    return tuple(found[name] for name in names)


@pytest.mark.parametrize("experiment", PUBLISHED)
def test_the_published_figures_are_in_the_plan(experiment: str) -> None:
    plan = make_plan(composed(f"experiment={experiment}"))
    assert tuple(figures(plan, names) for names in (MESH, BATCH, REST)) == PUBLISHED[experiment]
    assert plan.remedy is None
    assert plan.headroom_gib == pytest.approx(plan.gpu_memory_gib - max(plan.memory_gib.values()))
    for phase, parts in plan.memory_parts_gib.items():
        assert plan.memory_gib[phase] == pytest.approx(sum(parts.values()))
    assert plan.step_seconds["step"] == pytest.approx(sum(plan.step_seconds.values()) / 2)


@pytest.mark.slow
def test_the_command_plans_the_30b() -> None:
    done = command("experiment=dapo_qwen3_30b", "cluster=64gpu", "format=json")
    assert done.returncode == 0, done.stderr
    plan = json.loads(done.stdout)
    assert tuple(figures(plan, names) for names in (MESH, BATCH, REST)) == PUBLISHED["dapo_qwen3_30b"]
    assert plan["parameters"] == 30_532_122_624
    assert set(plan["memory_gib"]) == {"generate", "weight_sync", "log_probs", "update"}
    assert set(plan["step_seconds"]) == {"weight_sync", "generate", "log_probs", "update", "step"}
    assert plan["host_parts_gib"]["parameters"] == pytest.approx(8 * 3.554, abs=0.01), "of the real class, sharded"
    text = command("experiment=dapo_qwen3_30b", "cluster=8gpu").stdout
    assert "It does not fit: the host needs" in text
    assert "The smallest change that makes it fit: checkpoint.asynchronous=false" in text
    assert "512 prompts x 16 = 8192" in text
    assert "3 checkpoints of 341 GiB at a time, 114 GiB for the model" in text
    assert "checkpoint.grace=1800 seconds" in text


def test_the_smallest_change_makes_it_fit_and_a_smaller_one_is_taken_first() -> None:
    cfg = composed("experiment=dapo_qwen3_30b", "cluster=8gpu")
    plan = make_plan(cfg)
    assert not plan.fits
    assert plan.remedy == {"checkpoint.asynchronous": False}
    assert make_plan(changed(cfg, plan.remedy)).fits
    tight = composed("experiment=qwen2_5_7b_math", "cluster.gpu_memory_gib=66")
    assert make_plan(tight).remedy == {"batch.max_tokens_per_micro_batch": 16384}
    tighter = composed("experiment=qwen2_5_7b_math", "cluster.gpu_memory_gib=40")
    several = make_plan(tighter).remedy
    assert several is not None
    assert len(several) > 1
    assert make_plan(changed(tighter, several)).fits
    for left_out in several:
        assert not make_plan(changed(tighter, {k: v for k, v in several.items() if k != left_out})).fits
    full = composed("experiment=qwen2_5_7b_math", "rollout.engine.gpu_memory_utilization=0.95")
    assert make_plan(full).remedy == {"rollout.engine.gpu_memory_utilization": 0.7}
    hopeless = make_plan(composed("experiment=dapo_qwen3_30b", "cluster=1gpu", "rollout.engine.tensor_parallel=1"))
    assert hopeless.remedy is None
    assert "take a larger cluster" in in_words(hopeless.remedy)


@pytest.mark.parametrize(
    ("overrides", "said"),
    [
        (["cluster.gpu_memory_gib=40"], r"update needs 67\.\d GiB of 38\.0 GiB on each rank: gradients [\d.]+ \+ "),
        (["rollout.engine.gpu_memory_utilization=0.95"], r"generate needs \d+\.\d GiB of 80\.0 GiB .*KV cache"),
        (
            ["rollout.engine.gpu_memory_utilization=0.1"],
            r"KV cache of -?\d+\.\d GiB on each rank does not hold one sequence of 2048",
        ),
        (["cluster.host_memory_gib=64"], r"the host needs \d+ GiB of 61 GiB on a node: processes 64\.0"),
    ],
)
def test_what_cannot_fit_is_refused_with_the_arithmetic(overrides: list[str], said: str) -> None:
    cfg = composed("experiment=qwen2_5_7b_math", *overrides)
    with pytest.raises(ValueError, match=said):
        check_fits(cfg)
    cfg.cluster.gpu_memory_gib = None
    check_fits(cfg)
    with pytest.raises(ValueError, match=r"cluster.gpu_memory_gib=None|gpu_memory_gib=null: to plan for GPUs"):
        make_plan(cfg)


def test_an_engine_that_validates_longer_has_to_hold_that() -> None:
    usual = make_plan(composed("experiment=dapo_qwen2_5_7b"))
    longer = make_plan(composed("experiment=dapo_qwen2_5_7b", "validation.max_tokens=16384"))
    assert longer.concurrent_sequences["longest"] < usual.concurrent_sequences["longest"]


def test_an_engine_of_the_users_own_need_not_say_how_much_it_takes_at_once() -> None:
    usual = ("experiment=quickstart", "rollout=transformers")
    own = make_plan(composed(*usual, "rollout.engine._target_=my_engines.Mine", "~rollout.engine.max_num_seqs"))
    as_many = make_plan(composed(*usual, f"rollout.engine.max_num_seqs={own.to_json()['responses_per_step']}"))
    assert own.to_json() == as_many.to_json() != make_plan(composed(*usual)).to_json()


def test_sizes_are_those_of_their_own_model_alone() -> None:
    cfg = composed("experiment=gmpo_qwen2_5_math_7b", "model.path=Qwen/Qwen2.5-7B", "sampling.max_tokens=8192")
    check_fits(cfg)
    with pytest.raises(ValueError, match=r"the sizes of model.path=Qwen/Qwen2.5-7B are not known"):
        make_plan(cfg)


def test_an_unknown_model_is_not_refused_for_its_memory_and_cannot_be_planned() -> None:
    cfg = composed("experiment=quickstart", "model=local", "model.path=some/model", "cluster=8gpu", "batch.prompts=64")
    check_fits(cfg)
    with pytest.raises(ValueError, match=r"model.path=some/model are not known"):
        make_plan(cfg)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["experiment=dapo_qwen3_30b", "format=xml"], "error: format=xml must be text or json"),
        (
            ["experiment=dapo_qwen3_30b", "cluster.cp=5"],
            "64 ranks cannot be divided by cluster.dp_replicate=2 x cluster.cp=5",
        ),
        (
            ["experiment=qwen2_5_7b_math", "cluster.cp=8"],
            "cluster.cp=8 does not divide the 28 attention heads of the model: 28 = 3 x 8 + 4",
        ),
        (
            ["experiment=qwen2_5_7b_math", "rollout.engine.tensor_parallel=8"],
            "rollout.engine.tensor_parallel=8 does not divide the 28 attention heads",
        ),
        (["experiment=qwen2_5_7b_math", "sampling.max_tokens=4096"], "are more than the 4096 positions of the model"),
        (["experiment=qwen2_5_7b_math", "batch.mini_batch_prompts=300"], "1024 = 3 x 300 + 124"),
        (["model=no/such_model", "experiment=quickstart"], "looked for config.json, one of tokenizer.json"),
    ],
)
def test_bad_input_is_one_clear_error(arguments: list[str], said: str) -> None:
    done = command(*arguments)
    assert done.returncode == 1
    assert said in done.stderr
    assert done.stderr.count("\n") == 1
    assert done.stdout == ""


def test_a_layout_larger_than_the_cluster_is_refused() -> None:
    with pytest.raises(ValueError, match=r"cluster.dp_replicate=4 x .* = 32 ranks, but 8 are started"):
        composed("experiment=qwen2_5_7b_math", "cluster.dp_replicate=4", "cluster.dp_shard=8")
