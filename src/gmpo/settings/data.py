"""Settings of the problems: their data sets, which are used, and how prompts are built from them."""

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

PROBLEMS = {  # for a data set with a question and an answer in each row
    "name": Row(TEXT, "validation metrics are named val/NAME/..."),
    "path": Row(NAME_OR_NULL, "a file (JSON Lines, JSON, CSV, Parquet) or a folder; null: from the hub"),
    "validation_path": Row(NAME_OR_NULL, "null: a file test or validation of the same type beside the training file"),
    "hub_id": Row(TEXT_OR_NULL, "the data set's id on the hub"),
    "hub_config": Row(TEXT_OR_NULL, "its configuration there"),
    "train_split": Row(TEXT_OR_NULL, "a split of the hub's data set or of the folder; null: for evaluation only"),
    "validation_split": Row(TEXT_OR_NULL, "null: none"),
    "held_out": Row(COUNT, "training problems held out where there are no validation problems", "problems"),
    "question": Row(TEXT, "column of the question; a dotted path reaches nested ones: reward_model.ground_truth"),
    "answer": Row(TEXT, "column of the gold answer"),
    "level": Row(TEXT, "column of the difficulty level"),
    "question_format": Row(choice("text", "chat"), "chat: a list of {role, content} that ends with the question"),
    "result": Row(choice("whole", "boxed", "after_hashes"), "format of the answer in its column"),
    "leave_out": Row(
        or_null(Keys("a column and values, such as {answer: [proof, notfound]}")),
        "rows to leave out, by a column's value",
    ),
    "levels": Row(or_null(ListOf(Number(whole=True), "[3,4,5]")), "only problems of these levels; null: all"),
    "unwrap": Row(or_null(Keys()), "the instruction that the data set wraps around each question"),
    "instruction": Row(choice("keep", "replace"), "replace: cut that off, since data.template brings its own"),
    "empty_answers": Row(choice("error", "drop"), "what happens to rows without an answer"),
    "duplicates": Row(
        choice("drop", "keep", "drop_conflicting"),
        "rows that repeat a question; drop_conflicting also drops questions with several answers",
    ),
}
ARITHMETIC = {
    "kinds": Row(ListOf(Text(empty=False), '["3+2"]'), "kinds of arithmetic: 3+2 is three digits plus two"),
    "train_size": Row(COUNT, "arithmetic: training problems", "problems"),
    "validation_size": Row(COUNT, "arithmetic: validation problems", "problems"),
    "seed": Row(COUNT, "arithmetic: seed of the problems"),
}
DATA = Section(
    "Data",
    {
        "data.template": Row(
            TEXT, "chat: the tokenizer's own; a name in gmpo/data/templates.py; or a text with {question}"
        ),
        "data.system": Row(
            TEXT_OR_NULL, "a system message that replaces the rows' own; empty removes those", note=": quote it twice"
        ),
        "data.suffix": Row(TEXT_OR_NULL, "text after each question; begin it with a space", note=": quote it twice"),
        "data.chat_template_arguments": Row(
            or_null(Keys("names and values, such as {enable_thinking: false}")),
            "arguments of the chat template, such as {enable_thinking: false}",
        ),
        "data.chat_template_arguments.enable_thinking": Row(SWITCH, "argument of Qwen3's template"),
        "data.max_prompt_tokens": Row(SIZE, "longest prompt", "tokens"),
        "data.long_prompts": Row(
            choice("drop", "error", "truncate"), "what to do with longer prompts; truncate cuts on the left"
        ),
        "data.validation_limit": Row(SIZE_OR_NULL, "validate on only the first problems of each benchmark", "problems"),
        "data.limit": Row(SIZE_OR_NULL, "evaluate on only the first problems of each benchmark", "problems"),
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
