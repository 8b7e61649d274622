"""Settings of the commands other than train."""

from gmpo.settings.kinds import Either, ListOf, choice, or_null
from gmpo.settings.rows import COUNT, NAME, NAME_OR_NULL, SIZE, Row, Section

EVALUATE = Section(
    "gmpo evaluate",
    {
        "output": Row(NAME_OR_NULL, "a folder; an unfinished evaluation of the same settings in it is resumed"),
        "pass_k": Row(ListOf(SIZE, "[1,8]"), "additional k of pass@k, up to sampling.samples"),
    },
)
PLAN = Section("gmpo plan", {"format": Row(choice("text", "json"), "how the plan is printed")})
EXPORT = Section(
    "gmpo export",
    {
        "checkpoint": Row(NAME, "a run's folder, one checkpoint, or a folder in the Hugging Face format"),
        "output": Row(NAME, "a folder that does not exist or is empty"),
        "base_model": Row(NAME_OR_NULL, "folder or hub id that config and tokenizer are taken from"),
        "dtype": Row(or_null(choice("bfloat16", "float16", "float32")), "of the weights; null: as trained"),
    },
)
RESPONSES = Section(
    "gmpo responses",
    {
        "run": Row(NAME, "the folder of a run or of an evaluation"),
        "file": Row(choice("train", "validation"), "which responses of a run"),
        "count": Row(SIZE, "of each kind", "responses"),
        "step": Row(or_null(Either((COUNT, choice("last")))), "print only this rollout step; null: all"),
    },
)
