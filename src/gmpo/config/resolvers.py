"""What ${...} may compute in a config; imported for that alone."""

from omegaconf import OmegaConf

OmegaConf.register_new_resolver("sum", lambda *numbers: sum(numbers), replace=True)
OmegaConf.register_new_resolver("max", lambda *numbers: max(numbers), replace=True)
OmegaConf.register_new_resolver(
    "unless_null", lambda value, then, other: other if value is None else then, replace=True
)
OmegaConf.register_new_resolver("if", lambda value, then, other: then if value else other, replace=True)
OmegaConf.register_new_resolver(
    "unless_cpu", lambda accelerator, then: None if accelerator == "cpu" else then, replace=True
)
