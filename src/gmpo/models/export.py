"""Export of a checkpoint to a folder in the Hugging Face format."""

from contextlib import suppress
from dataclasses import dataclass
from functools import reduce
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from transformers import AutoConfig, AutoModelForCausalLM, GenerationConfig, PreTrainedModel

from gmpo.models.files import check_format, local_config
from gmpo.models.hugging_face import tokenizer_of, unusable, whole_folder, write_hugging_face
from gmpo.models.readers import ACCEPTED, Checkpoint, find_checkpoint

DTYPES = {"bfloat16": torch.bfloat16, "float16": torch.float16, "float32": torch.float32}


@dataclass(frozen=True)
class Exported:
    """An exported model."""

    source: Path  # the checkpoint; for a run's folder the one that was chosen
    folder: Path
    parameters: int  # tied ones count once
    dtype: torch.dtype
    size: int  # bytes of the folder

    def __str__(self) -> str:
        return (
            f"{self.folder}: {self.parameters:,} parameters, {str(self.dtype).removeprefix('torch.')}, "
            f"{self.size / 1e6:,.1f} MB, from {self.source}"
        )


def export(checkpoint: str, output: str, base_model: str | None = None, dtype: str | None = None) -> Exported:
    """Write the policy of a checkpoint (see `find_checkpoint`) to a new folder, with its config and tokenizer.

    base_model: folder or hub id of these two; None: the one named in the checkpoint. dtype: a name in DTYPES; None: as
    trained. Raises ValueError, naming value and remedy, before a weight is read.
    """
    wanted = _dtype(dtype)
    folder = _new_folder(output, checkpoint)
    found = find_checkpoint(Path(checkpoint))
    source = base_model or found.base_model
    if source is None:
        raise ValueError(
            f"{found.path} does not say which model it was trained from: give the folder or hub id that config and "
            "tokenizer come from by base_model=PATH"
        )
    layout = found.layout()
    if not layout:
        raise ValueError(f"{found.path} holds no weights of a policy: {ACCEPTED}")
    model = _without_weights(source, found.overrides, wanted or _common_dtype(layout))
    tokenizer = tokenizer_of(source)
    _check_layout(layout, model, found.path, source)
    try:
        with whole_folder(folder) as unfinished:
            weights = _read(found, wanted, model)
            parameters = sum(tensor.numel() for tensor in weights.values())
            write_hugging_face(model, weights, tokenizer, unfinished)
    except OSError as error:
        raise ValueError(
            f"output={output} cannot be written ({error.strerror}: {error.filename}): choose another by output=FOLDER"
        ) from error
    size = sum(path.stat().st_size for path in folder.rglob("*"))
    return Exported(found.path, folder, parameters, model.dtype, size)


def _dtype(name: str | None) -> torch.dtype | None:
    if name is not None and name not in DTYPES:
        raise ValueError(f"dtype={name} must be one of {', '.join(DTYPES)}, or null: as trained")
    return None if name is None else DTYPES[name]


def _new_folder(output: str, checkpoint: str) -> Path:
    folder = Path(output).resolve()
    if folder == Path(checkpoint).resolve():
        raise ValueError(f"output={output} is the checkpoint itself: choose another by output=FOLDER")
    if folder.is_mount():
        raise ValueError(f"output={output} is where a disk is mounted: give a folder in it")
    if folder.exists() and not (folder.is_dir() and not any(folder.iterdir())):
        raise ValueError(f"output={output} exists, and nothing is overwritten: remove it, or choose another")
    return folder


def _without_weights(source: str, overrides: dict[str, Any], dtype: torch.dtype) -> PreTrainedModel:
    """Return the base model's architecture, config and generation config."""
    if source.startswith(("/", ".", "~")) and not Path(source).is_dir():
        raise ValueError(
            f"the model {source} is not there, and config and tokenizer come from it: if it has moved, give its folder "
            "or hub id by base_model=PATH"
        )
    check_format(source)
    local_config(source)
    try:
        config = AutoConfig.from_pretrained(source, **overrides)
        with torch.device("meta"):
            model = AutoModelForCausalLM.from_config(config, dtype=dtype)
    except Exception as error:  # a config's or model's class may raise anything
        raise ValueError(unusable(source, "config", error)) from error
    with suppress(OSError):  # without one, the one made from its config stays
        model.generation_config = GenerationConfig.from_pretrained(source)
    return model


def _common_dtype(layout: dict[str, Tensor]) -> torch.dtype:
    """Return the narrowest dtype that holds every weight."""
    return reduce(torch.promote_types, (tensor.dtype for tensor in layout.values()))


def _names(model: PreTrainedModel) -> dict[str, list[str]]:
    """Return each weight's name, and all its names: tied weights have several."""
    names: dict[int, list[str]] = {}
    for name, tensor in model.state_dict(keep_vars=True).items():
        names.setdefault(id(tensor), []).append(name)
    return {several[0]: several for several in names.values()}


def _check_layout(layout: dict[str, Tensor], model: PreTrainedModel, path: Path, source: str) -> None:
    expected = model.state_dict()
    missing = [name for name, several in _names(model).items() if not layout.keys() & set(several)]
    unexpected = [name for name in layout if name not in expected]
    misshaped = [
        f"{name} is {list(layout[name].shape)} and not {list(tensor.shape)}"
        for name, tensor in expected.items()
        if name in layout and layout[name].shape != tensor.shape
    ]
    faults = [("missing", missing), ("unexpected", unexpected), ("of another shape", misshaped)]
    said = "; ".join(f"{len(found)} {kind}: {_first(found)}" for kind, found in faults if found)
    if said:
        raise ValueError(
            f"the weights in {path} are not those of the model {source} ({said}): give the folder or hub id of the "
            "model that was trained by base_model=PATH"
        )


def _first(names: list[str]) -> str:
    return ", ".join(names[:3]) + (", ..." if len(names) > 3 else "")


def _read(found: Checkpoint, dtype: torch.dtype | None, model: PreTrainedModel) -> dict[str, Tensor]:
    """Return each weight once, under its first name."""
    stored = found.read(dtype)
    weights = {}
    for name, several in _names(model).items():
        weights[name], *ties = (stored[other] for other in several if other in stored)
        if not all(torch.equal(weights[name], tie) for tie in ties):
            raise ValueError(
                f"the config of the model ties {' and '.join(several)}, which differ in {found.path}: give the model "
                "that was trained by base_model=PATH"
            )
    broken = [name for name, tensor in weights.items() if not tensor.isfinite().all()]
    if broken:
        remedy = "choose dtype=bfloat16, of a wider range" if dtype == torch.float16 else "take another checkpoint"
        raise ValueError(f"weights in {found.path} are infinite or not a number ({_first(broken)}): {remedy}")
    return weights
