"""Local files of problems."""

import csv
import json
from collections.abc import Callable, Iterator, Sequence
from decimal import Decimal
from pathlib import Path

import pyarrow
from pyarrow.parquet import ParquetFile

from gmpo.data.columns import Located, Row, shown, to_read

LONGEST_CELL = 10**8  # characters; the csv module refuses more than 131,072 otherwise
BATCH = 1000  # rows of a table that are in memory at a time


def read_file(path: Path, columns: Sequence[str]) -> Iterator[Located]:
    """Yield the rows of a file; of a Parquet file only the columns that are needed.

    Raises ValueError, naming file, row and remedy, where it is empty, of another kind, or cannot be read.
    """
    if path.suffix.lower() not in READERS:
        raise ValueError(
            f"data file {path} is of no known kind: give {', '.join(READERS)}, or a folder in the format of the "
            "library datasets"
        )
    empty = True
    for located in READERS[path.suffix.lower()](path, columns):
        empty = False
        yield located
    if empty:
        raise ValueError(f"data file {path} is empty: it must hold a row for each problem")


def _json_lines(path: Path, columns: Sequence[str]) -> Iterator[Located]:
    for number, line in _lines(path):
        if line.strip():
            where = f"{path}, line {number}"
            yield _object(_parsed(line.strip(), where, "one object a line"), where), where


def _json(path: Path, columns: Sequence[str]) -> Iterator[Located]:
    text = "".join(line for _, line in _lines(path))
    if not text.strip():
        return
    first = text.lstrip().partition("\n")[0].strip()
    if first.startswith("{") and first.endswith("}") and text.strip() != first:
        yield from _json_lines(path, columns)  # many data sets use this name for JSON Lines
        return
    content = _parsed(text, str(path), "a list of objects")
    lists = [value for value in content.values() if isinstance(value, list)] if isinstance(content, dict) else [content]
    if len(lists) != 1 or not isinstance(lists[0], list):
        raise ValueError(f"{path} must hold a list of objects, or an object with one such list; found {shown(content)}")
    for number, row in enumerate(lists[0]):
        where = f"{path}, row {number}"
        yield _object(row, where), where


def _csv(path: Path, columns: Sequence[str]) -> Iterator[Located]:
    """Yield rows whose cells are text: a reader that guesses types would turn the answer 025 into 25."""
    csv.field_size_limit(LONGEST_CELL)
    rows = csv.reader((line for _, line in _lines(path)), strict=True)
    header: list[str] = []
    while True:
        where = f"{path}, line {rows.line_num + 1}"
        try:
            cells = next(rows, None)
        except csv.Error as error:
            raise ValueError(
                f"{where} is not CSV ({error}): quote cells that hold quotes, doubled, or commas"
            ) from None
        if cells is None:
            return
        if cells and not header:
            header = cells
            if len(set(header)) < len(header):
                raise ValueError(f"{where} names a column twice: {shown(header)}; rename one")
        elif cells:
            if len(cells) != len(header):
                raise ValueError(
                    f"{where} has {len(cells)} cells and the header {len(header)}: quote cells that hold commas"
                )
            yield dict(zip(header, cells, strict=True)), where


def _parquet(path: Path, columns: Sequence[str]) -> Iterator[Located]:
    try:
        file = ParquetFile(path)
        wanted = to_read(columns, file.schema_arrow.names)
        number = 0
        for batch in file.iter_batches(BATCH, columns=wanted):
            for row in batch.to_pylist():
                yield row, f"{path}, row {number}"
                number += 1
    except (pyarrow.ArrowException, OSError) as error:
        raise ValueError(f"data file {path} is not Parquet that can be read: {error}") from error


READERS: dict[str, Callable[[Path, Sequence[str]], Iterator[Located]]] = {
    ".jsonl": _json_lines,
    ".json": _json,
    ".csv": _csv,
    ".parquet": _parquet,
}


def _lines(path: Path) -> Iterator[tuple[int, str]]:
    with path.open("rb") as lines:
        for number, line in enumerate(lines, start=1):
            try:
                yield number, line.decode("utf-8-sig" if number == 1 else "utf-8")
            except UnicodeDecodeError as error:
                raise ValueError(
                    f"{path}, line {number} is not UTF-8 ({error.reason}): save the file as UTF-8"
                ) from error


def _parsed(text: str, where: str, expected: str) -> object:
    try:
        return json.loads(text, parse_float=Decimal)  # exactly as written
    except (ValueError, ArithmeticError, RecursionError) as error:
        raise ValueError(f"{where} is not JSON ({error}): {text.strip()[:60]!r}; expected {expected}") from error


def _object(row: object, where: str) -> Row:
    if not isinstance(row, dict):
        raise ValueError(f"{where} holds {shown(row)}, not an object with a column for the question and the answer")
    return row
