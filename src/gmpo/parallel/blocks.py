"""The transformer blocks of a model."""

from torch import nn
from transformers import PreTrainedModel


def blocks_of(model: PreTrainedModel) -> tuple[str, nn.ModuleList]:
    """Return name and list of a model's blocks: the outermost list of modules that holds most parameters.

    Raises ValueError for a model without one.
    """
    lists = {name: module for name, module in model.named_modules() if isinstance(module, nn.ModuleList)}
    outermost = [name for name in lists if not any(name.startswith(f"{other}.") for other in lists)]
    sizes = {name: sum(parameter.numel() for parameter in lists[name].parameters()) for name in outermost}
    if not any(sizes.values()):
        raise ValueError(
            f"{type(model).__name__} has no list of transformer blocks, by which weights are loaded and sharded: take "
            "a decoder-only model of transformers"
        )
    name = max(sizes, key=sizes.__getitem__)
    return name, lists[name]
