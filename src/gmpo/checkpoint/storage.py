"""Sharded state on disk: written with checksums, and read without running any code in it."""

import io
import pickle
from concurrent.futures import Future
from pathlib import Path
from typing import Any
from zipfile import is_zipfile

import torch
import torch.distributed as dist
from torch.distributed import checkpoint as sharded
from torch.distributed.checkpoint import metadata as dcp_metadata
from torch.distributed.checkpoint.default_planner import DefaultLoadPlanner
from torch.distributed.checkpoint.metadata import Metadata, StorageMeta
from torch.distributed.checkpoint.planner import ReadItem, SavePlan, SavePlanner
from torch.distributed.checkpoint.storage import WriteResult
from torch.serialization import get_unsafe_globals_in_checkpoint

from gmpo.checkpoint.atomic import sync
from gmpo.checkpoint.folder import Manifest, crc32
from gmpo.compat import StorageInfo, flatten_state_dict, get_layout

META = "meta.pt"  # Lightning's name for everything that is not sharded
CHECKSUM = ".crc32"
State = dict[str, Any]

IN_METADATA = {  # all that torch.distributed.checkpoint puts into .metadata
    ("torch", "Size"): torch.Size,
    ("torch.serialization", "_get_layout"): get_layout,
    ("torch.distributed.checkpoint.filesystem", "_StorageInfo"): StorageInfo,
    ("pathlib", "PosixPath"): Path,
    ("pathlib", "Path"): Path,
    ("collections", "OrderedDict"): dict,
}
METADATA_CLASSES = (
    "Metadata",
    "MetadataIndex",
    "StorageMeta",
    "ChunkStorageMetadata",
    "TensorStorageMetadata",
    "BytesStorageMetadata",
    "TensorProperties",
    "_MEM_FORMAT_ENCODING",
)


def save(state: State, folder: Path, asynchronous: bool, group: dist.ProcessGroup | None) -> Future[Metadata] | None:
    """Write each rank's shards of `state`; collective.

    asynchronous: return once it is copied; until it is written, `group`, a CPU group of all ranks, must serve nothing
    else. The future's exception, like the one raised otherwise, is a CheckpointException on all ranks.
    """
    writer = _ChecksummedWriter(folder)
    if not asynchronous:
        sharded.save(state, storage_writer=writer)
        return None
    future = sharded.async_save(state, storage_writer=writer, process_group=group)
    assert isinstance(future, Future)
    return future


def complete(folder: Path, meta: State, manifest: Manifest | None) -> None:
    """Add what is not sharded, and a manifest; on rank 0, once all ranks have written their shards.

    meta: tensors, numbers and text. Raises ValueError if it holds anything else.
    """
    with (folder / META).open("wb") as file:
        torch.save(meta, file)
        sync(file)
    load_meta(folder / META)  # fail now if it cannot be read back
    files = {name: (folder / name).stat().st_size for name in (META, ".metadata")}
    checksums = {name: crc32(folder / name) for name in files}
    for path in folder.glob(f"*{CHECKSUM}"):
        name = path.name.removesuffix(CHECKSUM)
        files[name], checksums[name] = map(int, path.read_text().split())
        path.unlink()
    if manifest is not None:
        manifest.files.update({name: [size, checksums[name]] for name, size in files.items()})
        manifest.write(folder)


def load(state: State, folder: Path) -> None:
    """Load the tensors of `state` in place, and replace its other leaves; collective."""
    sharded.load(state, storage_reader=SafeReader(folder), planner=_SafePlanner())


def missing(state: State, folder: Path) -> list[str]:
    """Return the names of leaves of `state` that the checkpoint in `folder` does not hold; the same on every rank."""
    held = SafeReader(folder).read_metadata().state_dict_metadata
    return [name for name in flatten_state_dict(state)[0] if name not in held]


def load_meta(path: Path) -> State:
    """Load a dict of tensors, numbers and text; raise ValueError for anything else, which could run code."""
    if not is_zipfile(path):
        raise ValueError(f"{path} is no checkpoint, or not a whole one")
    try:
        if strange := get_unsafe_globals_in_checkpoint(str(path)):
            raise ValueError(
                f"{path} holds more than tensors, numbers and text, and reading it could run code "
                f"({', '.join(strange)}): take a checkpoint without"
            )
        content = torch.load(path, map_location="cpu", mmap=True, weights_only=True)
    except (pickle.UnpicklingError, RuntimeError, EOFError, OSError) as error:
        reason = next(iter(str(error).splitlines()), type(error).__name__)[:300]
        raise ValueError(f"{path} is no checkpoint that can be read ({reason})") from error
    if not isinstance(content, dict):
        raise ValueError(f"{path} is no checkpoint")
    return content


class _ChecksummedWriter(sharded.FileSystemWriter):
    """Writes the size and checksum of each file of this rank beside it, before ranks agree that all is written."""

    def write_data(self, plan: SavePlan, planner: SavePlanner) -> torch.futures.Future[list[WriteResult]]:
        written = super().write_data(plan, planner)
        for name in {result.storage_data.relative_path for result in written.wait()}:
            path = Path(self.path, name)
            path.with_name(f"{name}{CHECKSUM}").write_text(f"{path.stat().st_size} {crc32(path)}")
        return written


class SafeReader(sharded.FileSystemReader):
    """Reads a checkpoint's .metadata, which is a pickle, and refuses names that do not belong there."""

    def read_metadata(self, *args: Any, **kwargs: Any) -> Metadata:
        """Return the metadata; raise UnpicklingError for a name that does not belong there."""
        metadata = _MetadataUnpickler(io.BytesIO(Path(self.path, ".metadata").read_bytes())).load()
        if metadata.storage_meta is None:
            metadata.storage_meta = StorageMeta()
        metadata.storage_meta.load_id = self.load_id
        return metadata


class _MetadataUnpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        if (module, name) in IN_METADATA:
            return IN_METADATA[module, name]
        if module == dcp_metadata.__name__ and name in METADATA_CLASSES:
            return vars(dcp_metadata)[name]
        if module == "torch" and isinstance(found := vars(torch).get(name), torch.dtype):
            return found
        raise pickle.UnpicklingError(f"it names {module}.{name}, which could run code")


class _SafePlanner(DefaultLoadPlanner):
    """Reads what is not a tensor (numbers of the optimizer) with weights_only; torch's own would unpickle it."""

    def load_bytes(self, read_item: ReadItem, value: io.BytesIO) -> None:
        checked = io.BytesIO()
        torch.save(torch.load(value, weights_only=True), checked)
        checked.seek(0)
        super().load_bytes(read_item, checked)
