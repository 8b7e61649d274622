"""Local folders of problems: saved by `save_to_disk`, or with a file or more for each split, as on the hub."""

import json
import re
from collections.abc import Iterator, Sequence
from pathlib import Path

from gmpo.data.columns import Located
from gmpo.data.files import READERS, read_file
from gmpo.data.hub import table_rows

SAVED_SPLITS = "dataset_dict.json"  # written by save_to_disk for a DatasetDict
SAVED_TABLE = "state.json"  # and for a Dataset
PART = re.compile(r"(.+)-(\d{5})-of-(\d{5})(?:-[0-9a-f]+)?")  # train-00000-of-00001, older ones with a hash


def read_folder(folder: Path, config: str | None, split: str, columns: Sequence[str], node: str) -> Iterator[Located]:
    """Yield the rows of a folder's split, or of the whole folder if it has no splits.

    config: a subfolder that is searched too. Raises ValueError, naming the folder and the remedies below the config's
    `node`, where it cannot be read.
    """
    splits = folder_splits(folder, config)
    if splits and split not in splits:
        raise ValueError(
            f"data folder {folder} has no split {split!r}, only {', '.join(splits)}: "
            f"name one by {node}.train_split or {node}.validation_split"
        )
    if (folder / SAVED_SPLITS).is_file() or not splits:
        yield from _saved_rows(folder / split if splits else folder, columns)
        return
    for file in _complete(_files(folder, config)[split], folder, split):
        yield from read_file(file, columns)


def folder_splits(folder: Path, config: str | None) -> list[str]:
    """Return the names of a folder's splits; none if it is one table. Raises ValueError if it is no data set."""
    if (folder / SAVED_SPLITS).is_file():
        return list(json.loads((folder / SAVED_SPLITS).read_text())["splits"])
    splits = list(_files(folder, config))
    if not splits and not (folder / SAVED_TABLE).is_file():
        raise ValueError(
            f"data folder {folder} holds neither what save_to_disk writes nor a file for each split, such as "
            f"train.jsonl ({', '.join(READERS)}): name a file in it"
        )
    return splits


def _files(folder: Path, config: str | None) -> dict[str, list[Path]]:
    """Return the files of each split: in the folder, or in the subfolders that data sets on the hub use."""
    found: dict[str, list[Path]] = {}
    if (folder / SAVED_TABLE).is_file():
        return found
    for place in (folder, folder / "data", *([folder / config] if config else [])):
        for file in sorted(place.iterdir()) if place.is_dir() else []:
            if file.suffix.lower() in READERS and file.is_file():
                part = PART.fullmatch(file.stem)
                found.setdefault(part[1] if part else file.stem, []).append(file)
    return found


def _complete(files: list[Path], folder: Path, split: str) -> list[Path]:
    found = [(int(part[2]), int(part[3])) if (part := PART.fullmatch(file.stem)) else (0, 1) for file in files]
    if sorted(found) != [(place, len(files)) for place in range(len(files))]:
        raise ValueError(
            f"data folder {folder} holds {', '.join(file.name for file in files)} for the split {split}: it must be "
            "one file or all parts of one; name a file instead"
        )
    return files


def _saved_rows(folder: Path, columns: Sequence[str]) -> Iterator[Located]:
    from datasets import load_from_disk

    try:
        table = load_from_disk(str(folder))
    except IndexError:  # raised by the library for a table without rows
        raise ValueError(f"data folder {folder} is empty") from None
    except (OSError, ValueError) as error:
        raise ValueError(f"data folder {folder} cannot be read ({error}): save it again by save_to_disk") from error
    yield from table_rows(table, str(folder), columns)
