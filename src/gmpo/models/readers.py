"""Readers of a policy's weights on disk, in every form that a run writes."""

import logging
import pickle
import warnings
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Protocol

import torch
from safetensors import SafetensorError
from torch import Tensor
from torch.distributed import checkpoint as sharded
from torch.distributed.checkpoint.api import CheckpointException
from torch.distributed.checkpoint.metadata import TensorStorageMetadata
from transformers import AutoModelForCausalLM

from gmpo.checkpoint.folder import DAMAGED, MANIFEST, UNFINISHED, damage, folder_of
from gmpo.checkpoint.storage import META, SafeReader, load_meta
from gmpo.run import folder as run_folder

log = logging.getLogger(__name__)

PREFIX = "model."  # the language model within the LightningModule
STATE = "state_dict"  # Lightning's name
ACCEPTED = (
    "give a run's folder, a checkpoint (a folder with .metadata and meta.pt), or a folder in the "
    "Hugging Face format, by checkpoint=PATH"
)


class Checkpoint(Protocol):
    """Weights that have not been read yet."""

    @property
    def path(self) -> Path:
        """The folder of the weights."""
        ...

    @property
    def base_model(self) -> str | None:
        """The folder or hub id of config and tokenizer, if the checkpoint names it."""
        ...

    @property
    def overrides(self) -> dict[str, Any]:
        """Values that were replaced in that config."""
        ...

    def layout(self) -> dict[str, Tensor]:
        """Return the shape and dtype of each weight by its name in the language model, as tensors without values."""
        ...

    def read(self, dtype: torch.dtype | None) -> dict[str, Tensor]:
        """Return the weights, in `dtype` or as they were trained; raises ValueError where they are damaged."""
        ...


def find_checkpoint(path: Path) -> Checkpoint:
    """Return the checkpoint at `path`; for a run's folder the newest one, else the policy saved at its end.

    Raises ValueError, with what was found and what is accepted.
    """
    if not path.exists():
        raise ValueError(f"checkpoint={path} does not exist: {ACCEPTED}")
    if path.is_file():
        raise ValueError(f"checkpoint={path} is one file, and checkpoints of this project are folders: {ACCEPTED}")
    if _is_sharded(path):
        if (path / MANIFEST).is_file() and (fault := damage(path)) is not None:
            raise ValueError(f"checkpoint={path} is damaged ({fault}): take another checkpoint")
        return ShardedCheckpoint(path)
    if (path / "config.json").is_file():
        return HuggingFaceFolder(path)
    if newest := _newest(path / "checkpoints"):
        last = run_folder.finished_after(path)
        if (path / "model").is_dir() and last is not None and newest.path != folder_of(path / "checkpoints", last):
            log.info("this is the newest checkpoint; the run's last policy is in checkpoint=%s", path / "model")
        return newest
    if (path / "model" / "config.json").is_file():
        return HuggingFaceFolder(path / "model")
    raise ValueError(f"checkpoint={path} is no checkpoint, it holds {_contents(path)}: {ACCEPTED}")


@dataclass(frozen=True)
class ShardedCheckpoint:
    """A folder of torch.distributed.checkpoint, as `MeshStrategy` and Lightning's strategies write it."""

    path: Path

    @property
    def base_model(self) -> str | None:
        return _load(self.path / META).get("base_model")

    @property
    def overrides(self) -> dict[str, Any]:
        return _load(self.path / META).get("overrides", {})

    @property
    def global_step(self) -> int:
        """Optimizer steps before the checkpoint."""
        return _load(self.path / META)["global_step"]

    def layout(self) -> dict[str, Tensor]:
        try:
            stored = SafeReader(self.path).read_metadata().state_dict_metadata
        except (pickle.UnpicklingError, EOFError, OSError, AttributeError, ImportError, IndexError) as error:
            raise ValueError(f"{self.path / '.metadata'} is damaged ({error}): take another checkpoint") from error
        start = f"{STATE}.{PREFIX}"
        return {
            name.removeprefix(start): torch.empty(entry.size, dtype=entry.properties.dtype, device="meta")
            for name, entry in stored.items()
            if name.startswith(start) and isinstance(entry, TensorStorageMetadata)
        }

    def read(self, dtype: torch.dtype | None) -> dict[str, Tensor]:
        """Return the weights; reads nothing else, such as optimizer state, and needs no process group."""
        weights = {name: _cast(tensor, dtype) for name, tensor in self.layout().items()}
        weights = {name: torch.empty_like(tensor, device="cpu") for name, tensor in weights.items()}
        wanted = {STATE: {f"{PREFIX}{name}": tensor for name, tensor in weights.items()}}
        try:
            with warnings.catch_warnings():
                warnings.filterwarnings("ignore", "torch.distributed is disabled")  # intended
                sharded.load(wanted, storage_reader=SafeReader(self.path), no_dist=True)
        except (CheckpointException, RuntimeError, OSError, EOFError) as error:
            raise ValueError(f"{self.path} is damaged ({_reason(error)}): take another checkpoint") from error
        return weights


@dataclass(frozen=True)
class HuggingFaceFolder:
    """A model in the format that this project exports to."""

    path: Path

    @property
    def base_model(self) -> str:
        """The folder itself."""
        return str(self.path)

    @property
    def overrides(self) -> dict[str, Any]:
        """Empty: they are already in the folder's config."""
        return {}

    def layout(self) -> dict[str, Tensor]:
        """Return shapes and dtypes; reads the weights."""
        return {name: tensor.to("meta") for name, tensor in self._tensors.items()}

    def read(self, dtype: torch.dtype | None) -> dict[str, Tensor]:
        return {name: _cast(tensor, dtype) for name, tensor in self._tensors.items()}

    @cached_property
    def _tensors(self) -> dict[str, Tensor]:
        try:
            model, report = AutoModelForCausalLM.from_pretrained(self.path, dtype="auto", output_loading_info=True)
        except (OSError, RuntimeError, ValueError, SafetensorError) as error:
            raise ValueError(f"{self.path} holds no model that can be loaded ({_reason(error)}): {ACCEPTED}") from error
        for fault in ("missing", "unexpected"):  # transformers initializes the first, drops the second, and only warns
            if names := sorted(report[f"{fault}_keys"]):
                raise ValueError(f"the weights in {self.path} do not fit its config ({fault}: {', '.join(names[:3])})")
        return model.state_dict()


def _newest(folder: Path) -> ShardedCheckpoint | None:
    """Return the newest checkpoint by optimizer steps: a file's time may be that of its copy."""
    found: list[ShardedCheckpoint] = []
    for path in sorted(folder.iterdir()) if folder.is_dir() else []:
        if path.name.startswith((UNFINISHED, DAMAGED)):
            continue
        fault = damage(path) if (path / MANIFEST).is_file() else None
        if fault is not None:
            log.error("checkpoint %s is damaged (%s) and left out", path, fault)
        elif path.is_dir() and _is_sharded(path):
            found.append(ShardedCheckpoint(path))
        elif path.is_dir():
            log.warning("%s is left out: it is no complete checkpoint", path)
    return max(found, key=lambda checkpoint: checkpoint.global_step, default=None)


def _is_sharded(path: Path) -> bool:
    return (path / ".metadata").is_file() and (path / META).is_file()


def _load(path: Path) -> dict[str, Any]:
    try:
        content = load_meta(path)
    except ValueError as error:
        raise ValueError(f"{error}: {ACCEPTED}") from error
    if "pytorch-lightning_version" not in content:
        raise ValueError(f"{path} is no checkpoint of this project: {ACCEPTED}")
    return content


def _cast(tensor: Tensor, dtype: torch.dtype | None) -> Tensor:
    return tensor.to(dtype) if tensor.is_floating_point() and dtype is not None else tensor


def _reason(error: BaseException) -> str:
    return next(iter(str(error).splitlines()), type(error).__name__)[:300]


def _contents(folder: Path) -> str:
    names = sorted(path.name for path in folder.iterdir())
    shown = ", ".join(names[:5]) or "nothing"
    return f"{shown} and {len(names) - 5} more" if len(names) > 5 else shown
