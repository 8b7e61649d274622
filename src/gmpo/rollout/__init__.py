"""Engines that generate responses, behind one protocol, and the refills of dynamic sampling."""

from gmpo.rollout.dynamic_sampling import DynamicSampling, Refilled
from gmpo.rollout.engine import Engine, request_seed
from gmpo.rollout.request_order import ExpectedLengths
from gmpo.rollout.scoring import Scoring, scored_groups
from gmpo.rollout.subprocess_engine import SubprocessEngine

__all__ = [
    "DynamicSampling",
    "Engine",
    "ExpectedLengths",
    "Refilled",
    "Scoring",
    "SubprocessEngine",
    "request_seed",
    "scored_groups",
]
