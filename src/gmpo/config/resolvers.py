"""What ${...} may compute in a config; imported for that alone."""

from omegaconf import DictConfig, ListConfig, OmegaConf

# of prompt templates (gmpo/data/templates.py) that tell the model by which text its response ends
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


def _engine_log_probs_if_same(_root_: DictConfig) -> str:
    """For policy.old_log_probs: rollout where a pass of the trainer gives the same, or is of newer weights.

    It gives the same in float32 on a CPU (on a GPU products may be of less precision), with whole distributions. With
    a correction it is the trainer's: the engine's would leave nothing to correct.
    """
    if _root_.correction._target_ != "gmpo.objectives.correction.NoCorrection":
        return "trainer"
    types = {_root_.cluster.dtype, OmegaConf.select(_root_, "rollout.engine.dtype")}
    exact = types == {"float32"} and _root_.cluster.accelerator == "cpu"
    whole = _root_.sampling.top_p == 1 and _root_.sampling.top_k == 0
    ahead = OmegaConf.select(_root_, "rollout.async_steps", default=0)
    return "rollout" if (exact and whole) or ahead else "trainer"


OmegaConf.register_new_resolver("engine_log_probs_if_same", _engine_log_probs_if_same, replace=True)
