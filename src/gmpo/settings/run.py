"""Settings of the run: its length, batches, sampling, checkpoints and callbacks."""

from gmpo.settings.kinds import ListOf, Number, Text, choice, or_null
from gmpo.settings.rows import (
    COUNT,
    FRACTION,
    NAME,
    NAME_OR_NULL,
    NOT_NEGATIVE,
    NUMBER,
    OFF_AT_0,
    POSITIVE,
    POSITIVE_OR_NULL,
    SECONDS,
    SIZE,
    SIZE_OR_NULL,
    SWITCH,
    TEXT,
    Row,
    Section,
)

STOP = Row(
    ListOf(Text(empty=False), '["</answer>"]'),
    "texts that end a response; data.template=r1 brings its own",
    note=", none of them empty; [] is off",
)
RUN = Section(
    "The run",
    {
        "run.name": Row(NAME, "name of the run's folder in run.root; by default the experiment's name"),
        "run.root": Row(NAME, "the folder that holds the runs"),
        "run.steps": Row(SIZE, "how long to train", "rollout steps"),
        "run.seed": Row(COUNT, "seed of every random draw: the order of problems and each sampled token"),
        "run.validate_every": Row(
            SIZE_OR_NULL, "steps between validations, with one before the first step; null: never", "steps"
        ),
        "run.folder": Row(NAME_OR_NULL, "set by the run when it starts"),
        "run.first_step": Row(SIZE_OR_NULL, "set by a resumed run when it starts"),
        "resume": Row(
            TEXT,
            "auto: resume an unfinished run of this name and settings; or never, a run's folder or a checkpoint",
            note=": auto, never, a run's folder or a checkpoint",
        ),
        "profile": Row(SWITCH, "record the operations of rollout steps 2 to 4 in the run's folder profile/"),
        "checkpoint.every": Row(SIZE, "steps between checkpoints", "rollout steps"),
        "checkpoint.minutes": Row(
            POSITIVE_OR_NULL, "also save after this time since the last checkpoint; null: never", "min"
        ),
        "checkpoint.keep": Row(SIZE, "how many of the newest are kept", "checkpoints"),
        "checkpoint.best": Row(NAME_OR_NULL, "a metric such as val/gsm8k/mean@1: its best checkpoint is kept too"),
        "checkpoint.mode": Row(choice("max", "min"), "whether the largest or the smallest value is best"),
        "checkpoint.asynchronous": Row(SWITCH, "continue training while it is written from a copy in memory"),
        "checkpoint.failures": Row(SIZE, "failed writes in a row that stop the run", "checkpoints"),
        "checkpoint.grace": Row(SECONDS, "time from a signal until the run ends, its step finished or not", "s"),
        "checkpoint.requeue": Row(SWITCH, "requeue a Slurm job near its time limit, and resume in it"),
    },
)
BATCH = Section(
    "Batches",
    {
        "batch.prompts": Row(SIZE, "P, the prompts of one rollout step", "prompts"),
        "batch.group_size": Row(SIZE, "G, the responses to each prompt", "responses"),
        "batch.mini_batch_prompts": Row(SIZE, "prompts of one optimizer step; divides batch.prompts", "prompts"),
        "batch.max_tokens_per_micro_batch": Row(
            SIZE, "limit on each rank, with prompt, response and padding; bounds the memory of an update", "tokens"
        ),
        "batch.max_tokens_per_log_prob_batch": Row(SIZE, "the same for a pass without gradients", "tokens"),
    },
)


def _sampling(part: str) -> dict[str, Row]:
    return {
        f"{part}.samples": Row(SIZE, "responses to each prompt", "responses"),
        f"{part}.max_tokens": Row(SIZE, "longest response", "tokens"),
        f"{part}.temperature": Row(NOT_NEGATIVE, "divides the logits; 0 is greedy, which training cannot use"),
        f"{part}.top_p": Row(FRACTION, "sample from the most likely tokens of this total probability; 1: from all"),
        f"{part}.top_k": Row(COUNT, "sample from this many of the most likely tokens; 0: from all", "tokens"),
        f"{part}.stop": STOP,
    }


SAMPLING = Section(
    "Sampling",
    _sampling("sampling")
    | _sampling("validation")
    | {
        "dynamic_sampling.max_refills": Row(
            COUNT, "rounds of fresh prompts for groups whose rewards are all equal", "rounds", OFF_AT_0
        ),
        "scoring.on_error": Row(choice("stop", "zero"), "what to do when a reward raises; zero scores the response 0"),
        "overlong.buffer": Row(
            NOT_NEGATIVE,
            "final tokens before the limit, over which the penalty grows to overlong.factor",
            "tokens",
            OFF_AT_0,
        ),
        "overlong.factor": Row(NOT_NEGATIVE, "the largest penalty, subtracted from the reward", note=OFF_AT_0),
        "overlong.filter_truncated": Row(SWITCH, "leave truncated responses out of the loss"),
    },
)
CALLBACKS = Section(
    "Callbacks",
    {
        "callbacks.evaluation.solved_at": Row(NUMBER, "the reward that counts as correct in pass@k and maj@k"),
        "callbacks.evaluation.pass_k": Row(ListOf(SIZE, "[1,8]"), "additional k of pass@k, up to validation.samples"),
        "callbacks.rollout_table.groups": Row(COUNT, "groups recorded of each rollout step", "groups"),
        "callbacks.rollout_table.validation_groups": Row(COUNT, "groups recorded of each validation", "groups"),
        "callbacks.progress.every": Row(
            POSITIVE, "time between progress lines of a long generation, where there is no bar", "s"
        ),
        "trainer.enable_progress_bar": Row(SWITCH, "Lightning's own bar beside the project's"),
        "trainer.enable_model_summary": Row(SWITCH, "Lightning's table of the model"),
        "logger.tensorboard.purge_step": Row(or_null(COUNT), "set by a resumed run when it starts"),
        "guards.on_violation": Row(choice("warn", "stop"), "what to do when a metric leaves its bounds"),
        "guards.*.low": Row(or_null(Number()), "the metric's lower bound; null: none"),
        "guards.*.high": Row(or_null(Number()), "the metric's upper bound; null: none"),
    },
)
