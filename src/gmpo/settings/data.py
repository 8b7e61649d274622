"""Problems: where they come from, which are taken, and how a prompt is made of them."""

from gmpo.settings.kinds import Keys, ListOf, Number, Text, choice, or_null
from gmpo.settings.rows import (
    COUNT,
    NAME_OR_NULL,
    SIZE,
    SIZE_OR_NULL,
    SWITCH,
    TEXT,
    TEXT_OR_NULL,
    Row,
    Section,
)

PROBLEMS = {  # of a data set with a question and an answer in each row
    "name": Row(TEXT, "validation metrics are named val/NAME/..."),
    "path": Row(NAME_OR_NULL, "a file (JSON Lines, JSON, CSV, Parquet) or a folder; null: from the hub"),
    "validation_path": Row(NAME_OR_NULL, "null: test or validation of the same kind beside the training file"),
    "hub_id": Row(TEXT_OR_NULL, "the data set's id on the hub"),
    "hub_config": Row(TEXT_OR_NULL, "its configuration there"),
    "train_split": Row(TEXT_OR_NULL, "of the hub, or of a folder that has splits; null: for evaluation only"),
    "validation_split": Row(TEXT_OR_NULL, "null: there is none"),
    "held_out": Row(COUNT, "without validation problems, keep so many of training for it", "problems"),
    "question": Row(TEXT, "column; a dotted path goes into nested ones, as in reward_model.ground_truth"),
    "answer": Row(TEXT, "column of the gold answer"),
    "level": Row(TEXT, "column of the level"),
    "question_format": Row(choice("text", "chat"), "chat: a list of {role, content} that ends with the question"),
    "result": Row(choice("whole", "boxed", "after_hashes"), "how the answer stands in its column"),
    "leave_out": Row(
        or_null(Keys("a column and values, such as {answer: [proof, notfound]}")),
        "rows that are left out, by a column's value",
    ),
    "levels": Row(or_null(ListOf(Number(whole=True), "[3,4,5]")), "only problems of these; null: all"),
    "unwrap": Row(or_null(Keys()), "the instruction that the data set puts around a question"),
    "instruction": Row(choice("keep", "replace"), "replace: cut that off, so that data.template brings its own"),
    "empty_answers": Row(choice("error", "drop"), "what happens to rows without an answer"),
    "duplicates": Row(
        choice("drop", "keep", "drop_conflicting"), "rows that repeat a question; the last also drops several answers"
    ),
}
ARITHMETIC = {
    "kinds": Row(ListOf(Text(empty=False), '["3+2"]'), "of arithmetic: 3+2 is three digits plus two"),
    "train_size": Row(COUNT, "of arithmetic", "problems"),
    "validation_size": Row(COUNT, "of arithmetic", "problems"),
    "seed": Row(COUNT, "of arithmetic"),
}
DATA = Section(
    "Data",
    {
        "data.template": Row(
            TEXT, "chat: the tokenizer's own; or a name in gmpo/data/templates.py, or a text with {question}"
        ),
        "data.system": Row(
            TEXT_OR_NULL, "a system message in place of the rows' own; empty leaves those out", note=": quote it twice"
        ),
        "data.suffix": Row(TEXT_OR_NULL, "what follows each question, its own blank first", note=": quote it twice"),
        "data.chat_template_arguments": Row(
            or_null(Keys("names and values, such as {enable_thinking: false}")),
            "what the chat template is told, such as {enable_thinking: false}",
        ),
        "data.chat_template_arguments.enable_thinking": Row(SWITCH, "of Qwen3's template"),
        "data.max_prompt_tokens": Row(SIZE, "the limit of a prompt", "tokens"),
        "data.long_prompts": Row(
            choice("drop", "error", "truncate"), "what happens to longer prompts; truncate cuts on the left"
        ),
        "data.validation_limit": Row(SIZE_OR_NULL, "validate on the first so many of each benchmark", "problems"),
        "data.limit": Row(SIZE_OR_NULL, "evaluate on the first so many of each benchmark", "problems"),
        **{f"data.{name}": row for name, row in PROBLEMS.items()},
        "data.kinds": ARITHMETIC["kinds"],
    },
)
DATA_SETS = ("data.dataset", "data.gsm8k", "data.math", "benchmark.*")
PARTS = Section(
    "Data sets within data, and benchmarks",
    {f"{part}.{name}": row for part in DATA_SETS for name, row in (PROBLEMS | ARITHMETIC).items()}
    | {"data.dataset.datasets.*": Row(Keys(), "one of several data sets")},
)
