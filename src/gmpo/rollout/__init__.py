"""Engines that generate responses, behind one protocol, and the refills of dynamic sampling."""

from gmpo.rollout.dynamic_sampling import DynamicSampling, Refilled
from gmpo.rollout.engine import Engine, request_seed
from gmpo.rollout.scoring import scored_groups

__all__ = ["DynamicSampling", "Engine", "Refilled", "request_seed", "scored_groups"]
