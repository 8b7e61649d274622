"""The recorded responses of a run or an evaluation, for people to read."""

import json
from collections.abc import Iterator
from operator import itemgetter
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.markup import escape

Row = dict[str, Any]  # a line of rollouts/*.jsonl or of an evaluation's responses.jsonl
LONGEST = 2000  # characters printed of a response; a longer one is cut in the middle


def print_responses(folder: str, file: str, count: int, step: int | str | None = None) -> None:
    """Print the `count` best, worst and truncated responses of a run's or an evaluation's folder.

    file: of a run, train or validation. step: a rollout step, or "last". Raises ValueError, naming the remedy, where
    there is nothing to print.
    """
    if type(count) is not int or count < 1:
        raise ValueError(f"count={count} must be a whole number of at least 1")
    path = find_record(Path(folder), file)
    rows = [row for row in read_record(path) if step in (None, "last") or row.get("rollout_step") == step]
    if step == "last":
        last = max((row["rollout_step"] for row in rows if "rollout_step" in row), default=None)
        rows = [row for row in rows if row.get("rollout_step") == last]
    if not rows:
        raise ValueError(f"{path} holds no response{'' if step is None else f' of step={step}'}")
    console = Console()
    console.print(f"[bold]{escape(str(path))}[/bold]: {len(rows)} responses", highlight=False)
    for title, chosen in choose(rows, count).items():
        console.rule(f"{title} ({len(chosen)})")
        for row in chosen:
            console.print(describe(row), markup=False, highlight=False)


def find_record(folder: Path, file: str) -> Path:
    """Return the JSON Lines file of responses in a run's or an evaluation's folder."""
    known = {"train": folder / "rollouts" / "train.jsonl", "validation": folder / "rollouts" / "validation.jsonl"}
    if file not in known:
        raise ValueError(f"file={file} must be {' or '.join(known)}")
    for path in (known[file], folder / "responses.jsonl"):
        if path.is_file():
            return path
    raise ValueError(
        f"run={folder} holds no responses (neither rollouts/{file}.jsonl nor responses.jsonl): give the folder of a "
        "run or of an evaluation"
    )


def read_record(path: Path) -> Iterator[Row]:
    """Yield the rows of a file; an incomplete last one is skipped."""
    with path.open(encoding="utf-8", errors="replace") as lines:
        for number, line in enumerate(lines, start=1):
            if line.endswith("\n"):
                try:
                    yield json.loads(line)
                except ValueError as error:
                    raise ValueError(f"{path}, line {number} is not JSON ({error}): delete the line") from error


def choose(rows: list[Row], count: int) -> dict[str, list[Row]]:
    """Return the best rows, the worst untruncated ones and truncated ones; among equals the newest first."""
    newest_first = rows[::-1]
    ended = [row for row in newest_first if not row["truncated"]]
    return {
        "best": sorted(newest_first, key=itemgetter("reward"), reverse=True)[:count],
        "worst": sorted(ended, key=itemgetter("reward"))[:count],
        "truncated": [row for row in newest_first if row["truncated"]][:count],
    }


def describe(row: Row) -> str:
    """Return a response as text, with its prompt, answer and scores."""
    about = [f"{name} {row[name]:.3g}" for name in ("reward", "penalty", "advantage") if row.get(name) is not None]
    about += [f"{row['tokens']} tokens"] + ["truncated"] * row["truncated"]
    place = f"step {row['rollout_step']}" if "rollout_step" in row else row["benchmark"]
    question = row.get("prompt", row.get("question"))
    return f"{place}  {'  '.join(about)}\nprompt: {question}\nanswer: {row['answer']}\n{shortened(row['response'])}\n"


def shortened(text: str) -> str:
    """Return a text; a long one without its middle."""
    half = LONGEST // 2
    left_out = len(text) - LONGEST
    return text if left_out <= 0 else f"{text[:half]}\n[... {left_out} characters left out ...]\n{text[-half:]}"
