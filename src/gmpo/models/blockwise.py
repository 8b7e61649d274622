"""Block-by-block loading of a model's weights, from a folder or the hub: no process holds all of them."""

import ctypes
import logging
import re
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

import torch
from huggingface_hub import snapshot_download
from safetensors import safe_open
from torch import nn
from transformers import AutoConfig, AutoModelForCausalLM, GenerationConfig, PreTrainedConfig, PreTrainedModel
from transformers.conversion_mapping import get_model_conversion_mapping
from transformers.core_model_loading import (
    WeightConverter,
    WeightRenaming,
    convert_and_load_state_dict_in_model,
    rename_source_key,
)
from transformers.modeling_utils import LoadStateDictConfig
from transformers.utils import logging as transformers_logging

from gmpo.compat import dtype_plan
from gmpo.models.files import CONFIG, INDEX, check_trainable, reason, tensors_in, weight_files
from gmpo.parallel.blocks import blocks_of

log = logging.getLogger(__name__)

REST = ""
DOWNLOADED = (CONFIG, "generation_config.json", INDEX, "model*.safetensors")


def load_blockwise(
    path: str, dtype: torch.dtype, shard: Callable[[nn.Module], None], **settings: object
) -> PreTrainedModel:
    """Return a causal language model in evaluation mode, with the same weights and settings as `from_pretrained`.

    path: a folder or hub id with safetensors files, under published names or those of transformers. shard: called with
    each block once it has its weights, on the CPU, in `dtype`, while later blocks are still on the meta device, and
    finally with the model. It keeps this rank's shard and frees the rest, as FSDP2's `fully_shard` does. settings:
    arguments of `from_pretrained` for config and model, such as attn_implementation.
    Raises ValueError, naming file and tensor, where files or weights are missing, damaged or of another shape.
    """
    folder = _folder(path)
    model = _architecture(path, folder, dtype, settings)
    name, modules = blocks_of(model)
    blocks = [(f"{name}.{index}.", module) for index, module in enumerate(modules)]
    _fill_buffers(model)
    how = LoadStateDictConfig(
        pretrained_model_name_or_path=path,
        dtype=dtype,
        dtype_plan=dtype_plan(model, dtype),
        weight_mapping=get_model_conversion_mapping(model),
    )
    block = re.compile(rf"{re.escape(name)}\.\d+\.")  # the start of its weights' names
    parts = _parts(model, _tensors(folder), how, block)
    for part, module in [*blocks, (REST, model)]:
        _load(model, part, parts, how, block)
        shard(module)
        _return_freed_memory()
    return model.eval()


def _folder(path: str) -> Path:
    """Return the folder itself, or the hub's, downloaded if necessary by one rank of each node while others wait."""
    if Path(path).is_dir():
        return Path(path)
    try:
        return Path(snapshot_download(path, allow_patterns=list(DOWNLOADED)))
    except (OSError, ValueError) as error:
        raise ValueError(
            f"{path} is neither a folder nor the id of a model that the hub has and this machine can reach "
            f"({reason(error)})"
        ) from error


def _architecture(path: str, folder: Path, dtype: torch.dtype, settings: dict[str, object]) -> PreTrainedModel:
    """Return the architecture on the meta device, with config and generation config."""
    trust = bool(settings.pop("trust_remote_code", False))
    config, settings = AutoConfig.from_pretrained(
        folder, return_unused_kwargs=True, trust_remote_code=trust, **settings
    )
    config.name_or_path = path
    check_trainable(config.to_dict(), path)
    model = without_weights(config, path, dtype, trust_remote_code=trust, **settings)
    try:
        model.generation_config = GenerationConfig.from_pretrained(folder)
    except OSError:  # none: older models keep these settings in their config
        model.generation_config = GenerationConfig.from_pretrained(
            folder, config_file_name=CONFIG, _from_model_config=True
        )
    return model


def without_weights(config: PreTrainedConfig, path: str, dtype: torch.dtype, **settings: object) -> PreTrainedModel:
    """Return the architecture on the meta device; settings: arguments of `from_pretrained`.

    Raises ValueError for a config that is not of a causal language model.
    """
    try:
        with torch.device("meta"):
            return AutoModelForCausalLM.from_config(config, dtype=dtype, **settings)
    except Exception as error:  # a model's class may raise anything
        raise ValueError(
            f"model.path={path} cannot be made a causal language model (model_type={config.model_type}; "
            f"{reason(error)}): take a decoder-only text model, or another model.attention"
        ) from error


def _fill_buffers(model: PreTrainedModel) -> None:
    """Compute the buffers that no checkpoint has, such as rotary frequencies; parameters stay on the meta device."""
    for name, buffer in list(model.named_non_persistent_buffers()):
        owner, _, own_name = name.rpartition(".")
        setattr(model.get_submodule(owner), own_name, torch.empty_like(buffer, device="cpu"))
    model.initialize_weights()


def _tensors(folder: Path) -> dict[str, str]:
    """Return the file of each tensor in a folder's safetensors files, by the tensor's name."""
    return {name: str(file) for file in weight_files(folder) for name in tensors_in(file)}


def _part(name: str, block: re.Pattern[str]) -> str:
    found = block.match(name)
    return found.group() if found else REST


def _parts(
    model: PreTrainedModel, tensors: dict[str, str], how: LoadStateDictConfig, block: re.Pattern[str]
) -> dict[str, dict[str, str]]:
    """Return the tensors that the weights of each block, and of the rest, are built from."""
    renamings = [entry for entry in how.weight_mapping if isinstance(entry, WeightRenaming)]
    converters = [entry for entry in how.weight_mapping if isinstance(entry, WeightConverter)]
    weights = model.state_dict()
    parts: dict[str, dict[str, str]] = defaultdict(dict)
    unknown = []
    for tensor, file in tensors.items():
        weight, _ = rename_source_key(tensor, renamings, converters, model.base_model_prefix, weights)
        if weight not in weights:  # transformers' own second attempt: the name may be the model's already
            weight, _ = rename_source_key(tensor, [], [], model.base_model_prefix, weights)
        if weight in weights:
            parts[_part(weight, block)][tensor] = file
        else:
            unknown.append(tensor)
    if unknown:
        log.warning("%s: the model has no place for %s", how.pretrained_model_name_or_path, _first(unknown))
    return parts


def _load(
    model: PreTrainedModel,
    part: str,
    parts: dict[str, dict[str, str]],
    how: LoadStateDictConfig,
    block: re.Pattern[str],
) -> None:
    """Read one part's tensors and build its weights from them; tie those that the config ties."""
    tensors = parts[part]
    with ExitStack() as stack, _without_progress_bar():
        files = {file: stack.enter_context(safe_open(file, "pt")) for file in set(tensors.values())}
        slices = {name: files[file].get_slice(name) for name, file in tensors.items()}
        found, _ = convert_and_load_state_dict_in_model(model, slices, how)
    failed = found.conversion_errors  # by weight; a traceback and a last line that transformers adds
    missing = {name for name in found.missing_keys - failed.keys() if _part(name, block) == part}
    faults = [f"{name} is {list(has)} and not {list(wanted)}" for name, has, wanted in sorted(found.mismatched_keys)]
    faults += [f"{name} cannot be made of its tensors ({text.splitlines()[-2]})" for name, text in failed.items()]
    if part == REST and not faults:
        model.tie_weights(missing_keys=missing, recompute_mapping=False)
    if faults := faults + [f"{name} is missing" for name in sorted(missing)]:
        raise ValueError(
            f"the weights in {how.pretrained_model_name_or_path} are not those of its config: {_first(faults)}"
        )


def _return_freed_memory() -> None:
    """Make glibc return the memory of freed blocks: without this it keeps 130 MB a rank, of a model of 730 MB."""
    with suppress(AttributeError):  # another C library than glibc
        ctypes.CDLL(None).malloc_trim(0)


@contextmanager
def _without_progress_bar() -> Iterator[None]:
    shown = transformers_logging.is_progress_bar_enabled()
    transformers_logging.disable_progress_bar()
    try:
        yield
    finally:
        if shown:
            transformers_logging.enable_progress_bar()


def _first(faults: list[str]) -> str:
    return ", ".join(faults[:3]) + (f" and {len(faults) - 3} more" if len(faults) > 3 else "")
