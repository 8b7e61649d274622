"""What a recipe asks of a cluster before anything is started: batch arithmetic, memory, time."""

from gmpo.planning.duration import expected_duration
from gmpo.planning.fitting import check_fits
from gmpo.planning.plan import Plan, make_plan

__all__ = ["Plan", "check_fits", "expected_duration", "make_plan"]
