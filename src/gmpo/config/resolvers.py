"""Resolvers for ${...} in configs, registered when this module is imported."""

from omegaconf import ListConfig, OmegaConf

# prompt templates (gmpo/data/templates.py) that tell the model how to end its response
STOP_OF_TEMPLATE = {"r1": ["</answer>"]}

OmegaConf.register_new_resolver("sum", lambda *numbers: sum(numbers), replace=True)
OmegaConf.register_new_resolver("max", lambda *numbers: max(numbers), replace=True)
OmegaConf.register_new_resolver(
    "unless_null", lambda value, then, other: other if value is None else then, replace=True
)
OmegaConf.register_new_resolver("if", lambda value, then, other: then if value else other, replace=True)
OmegaConf.register_new_resolver(
    "unless_cpu", lambda accelerator, then: None if accelerator == "cpu" else then, replace=True
)
OmegaConf.register_new_resolver(
    "stop_of_template", lambda template: ListConfig(STOP_OF_TEMPLATE.get(str(template), [])), replace=True
)
