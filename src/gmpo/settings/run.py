"""The run itself: its length, its batches, what is sampled, what is saved."""

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
        "run.name": Row(NAME, "the folder of the run in run.root; by default the experiment's name"),
        "run.root": Row(NAME, "the folder that holds the runs"),
        "run.steps": Row(SIZE, "how long to train", "rollout steps"),
        "run.seed": Row(COUNT, "what all draws follow from: the order of problems and every sampled token"),
        "run.validate_every": Row(SIZE_OR_NULL, "validate so often, and before the first step; null: never", "steps"),
        "run.folder": Row(NAME_OR_NULL, "set by the run when it starts"),
        "run.first_step": Row(SIZE_OR_NULL, "set by a resumed run when it starts"),
        "resume": Row(
            TEXT,
            "auto goes on with the unfinished run of this name and settings; never, or a run's folder or a checkpoint",
            note=": auto, never, a run's folder or a checkpoint",
        ),
        "profile": Row(SWITCH, "record rollout steps 2 to 4 operation by operation, in the run's folder profile/"),
        "checkpoint.every": Row(SIZE, "save so often", "rollout steps"),
        "checkpoint.minutes": Row(POSITIVE_OR_NULL, "and when so long has passed since the last; null: never", "min"),
        "checkpoint.keep": Row(SIZE, "the newest ones that are kept", "checkpoints"),
        "checkpoint.best": Row(NAME_OR_NULL, "a metric such as val/gsm8k/mean@1: its best checkpoint is kept too"),
        "checkpoint.mode": Row(choice("max", "min"), "which value of that metric is the best"),
        "checkpoint.asynchronous": Row(SWITCH, "train on while it is written, from a copy in memory"),
        "checkpoint.failures": Row(SIZE, "so many in a row that cannot be written stop the run", "checkpoints"),
        "checkpoint.grace": Row(SECONDS, "from a signal until the run ends, its step finished or not", "s"),
        "checkpoint.requeue": Row(SWITCH, "in a Slurm job near its time limit: start it again and go on"),
    },
)
BATCH = Section(
    "Batches",
    {
        "batch.prompts": Row(SIZE, "P, of one rollout step", "prompts"),
        "batch.group_size": Row(SIZE, "G, the responses to each prompt", "responses"),
        "batch.mini_batch_prompts": Row(SIZE, "of one optimizer step; divides batch.prompts", "prompts"),
        "batch.max_tokens_per_micro_batch": Row(
            SIZE, "on each rank, with prompt, response and padding; bounds the memory of an update", "tokens"
        ),
        "batch.max_tokens_per_log_prob_batch": Row(SIZE, "the same of a pass without gradients", "tokens"),
    },
)


def _sampling(part: str) -> dict[str, Row]:
    return {
        f"{part}.samples": Row(SIZE, "responses to each prompt", "responses"),
        f"{part}.max_tokens": Row(SIZE, "the limit of a response", "tokens"),
        f"{part}.temperature": Row(NOT_NEGATIVE, "divides the logits; 0 is greedy, which training cannot use"),
        f"{part}.top_p": Row(FRACTION, "sample from the likeliest tokens of this probability; 1: from all"),
        f"{part}.top_k": Row(COUNT, "sample from so many of the likeliest tokens; 0: from all", "tokens"),
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
        "scoring.on_error": Row(
            choice("stop", "zero"), "what happens where a reward raises: zero scores the response 0"
        ),
        "overlong.buffer": Row(
            NOT_NEGATIVE, "last tokens before the limit over which the penalty grows to its factor", "tokens", OFF_AT_0
        ),
        "overlong.factor": Row(NOT_NEGATIVE, "the whole penalty, taken off the reward", note=OFF_AT_0),
        "overlong.filter_truncated": Row(SWITCH, "leave truncated responses out of the loss"),
    },
)
CALLBACKS = Section(
    "Callbacks",
    {
        "callbacks.evaluation.solved_at": Row(NUMBER, "the reward that counts as right in pass@k and maj@k"),
        "callbacks.evaluation.pass_k": Row(ListOf(SIZE, "[1,8]"), "further k of pass@k, up to validation.samples"),
        "callbacks.rollout_table.groups": Row(COUNT, "recorded of each rollout step", "groups"),
        "callbacks.rollout_table.validation_groups": Row(COUNT, "recorded of each validation", "groups"),
        "callbacks.progress.every": Row(
            POSITIVE, "between two lines about a long generation, where there is no bar", "s"
        ),
        "trainer.enable_progress_bar": Row(SWITCH, "Lightning's own bar beside the project's"),
        "trainer.enable_model_summary": Row(SWITCH, "Lightning's table of the model"),
        "logger.tensorboard.purge_step": Row(or_null(COUNT), "set by a resumed run when it starts"),
        "guards.on_violation": Row(choice("warn", "stop"), "what happens where a metric leaves its bounds"),
        "guards.*.low": Row(or_null(Number()), "the metric's lower bound; null: none"),
        "guards.*.high": Row(or_null(Number()), "the metric's upper bound; null: none"),
    },
)
