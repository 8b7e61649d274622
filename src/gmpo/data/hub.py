"""Data sets on the hub."""

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from gmpo.data.columns import Located, to_read
from gmpo.data.files import BATCH

if TYPE_CHECKING:
    from datasets import Dataset


def read_hub(hub_id: str, config: str | None, split: str, columns: Sequence[str], node: str) -> Iterator[Located]:
    """Yield the rows of one split of a data set on the hub.

    Raises ValueError, naming the data set and the remedies below the config's `node`, where it cannot be loaded.
    """
    from datasets import load_dataset
    from datasets.exceptions import DatasetsError

    try:
        table = load_dataset(hub_id, config, split=split)
    except (OSError, ValueError, DatasetsError) as error:
        raise ValueError(
            f"data set {hub_id!r} (config {config!r}, split {split!r}) cannot be loaded: {error}. Without a network, "
            f"give local files by {node}.path=FILE; else check {node}.hub_id, {node}.hub_config and the split"
        ) from error
    yield from table_rows(table, f"{hub_id}, split {split}", columns)


def table_rows(table: "Dataset", where: str, columns: Sequence[str]) -> Iterator[Located]:
    """Yield the rows of a table of the library datasets, with only the columns that are needed."""
    number = 0
    wanted = table.select_columns(to_read(columns, table.column_names))
    for batch in wanted.with_format("arrow").iter(BATCH):
        for row in batch.to_pylist():
            yield row, f"{where}, row {number}"
            number += 1
