"""Local files of problems."""

import json
from collections.abc import Iterator, Sequence
from pathlib import Path


def read_rows(path: Path, columns: Sequence[str]) -> Iterator[tuple[dict[str, object], str]]:
    """The rows of a JSON Lines file, each with where it stands ("FILE, line N") for messages.

    Raises ValueError where the file is missing or empty, or a row is not JSON or lacks a column.
    """
    if not path.is_file():
        raise ValueError(f"data file {path} does not exist (looked in {Path.cwd()}); give a file by data.path=FILE")
    rows = 0
    with path.open(encoding="utf-8", errors="replace") as lines:
        for number, line in enumerate(lines, start=1):
            if line.strip():
                rows += 1
                where = f"{path}, line {number}"
                yield _parse_row(line, where, columns), where
    if rows == 0:
        raise ValueError(f"data file {path} is empty: it must hold one JSON object a line, with {_names(columns)}")


def _parse_row(line: str, where: str, columns: Sequence[str]) -> dict[str, object]:
    try:
        row = json.loads(line.strip())
    except json.JSONDecodeError as error:
        raise ValueError(f"{where} is not JSON ({error}): {line.strip()[:60]!r}; expected one object a line") from error
    if not isinstance(row, dict):
        raise ValueError(f"{where} holds {type(row).__name__}, not an object with {_names(columns)}")
    missing = [column for column in columns if column not in row]
    if missing:
        raise ValueError(
            f"{where} lacks {_names(missing)}; found {_names(list(row))}. Rename them or choose another file"
        )
    return row


def _names(columns: Sequence[str]) -> str:
    return ("column " if len(columns) == 1 else "columns ") + ", ".join(map(repr, columns))
