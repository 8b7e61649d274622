"""The planner's estimate of a run's duration, logged where it is more than minutes."""

from omegaconf import DictConfig
from omegaconf.errors import OmegaConfBaseException

from gmpo.planning.memory import shard_of
from gmpo.planning.plan import expected_lengths
from gmpo.planning.recipe import Recipe
from gmpo.planning.speed import step_seconds

SLOW = 120.0  # seconds of a rollout step; slower runs log the estimate
UNITS = (("days", 86400.0), ("h", 3600.0), ("min", 60.0))


def expected_duration(cfg: DictConfig, steps: int) -> str | None:
    """Return a sentence with the duration of one and of all rollout steps; None below SLOW seconds a step.

    Also None where the sizes of the model are unknown, or the engine is. The parameters of a rank are counted by
    division, without torch.
    """
    try:
        recipe = Recipe.of(cfg)
        seconds = step_seconds(recipe, shard_of(recipe), expected_lengths(recipe))["step"]
    except (ValueError, OmegaConfBaseException):  # a user's own engine has other keys
        return None
    if seconds < SLOW:
        return None
    return (
        f"a step takes about {in_words(seconds)} on this cluster by the estimate of plan.py, and {steps} of them "
        f"{in_words(steps * seconds)}, without validation"
    )


def in_words(seconds: float) -> str:
    """Return a duration in its largest unit, with two digits or more."""
    name, size = next(((name, size) for name, size in UNITS if seconds >= size), ("s", 1.0))
    number = seconds / size
    return f"{number:.1f} {name}" if number < 10 else f"{number:.0f} {name}"
