"""Engines that generate responses, behind one protocol, and the refills of dynamic sampling."""

from gmpo.rollout.dynamic_sampling import DynamicSampling, Refilled
from gmpo.rollout.engine import Engine, request_seed
from gmpo.rollout.engine_process import EngineProcess
from gmpo.rollout.hosting import hosted
from gmpo.rollout.lengths import ExpectedLengths
from gmpo.rollout.scoring import Scoring, scored_groups

__all__ = [
    "DynamicSampling",
    "Engine",
    "EngineProcess",
    "ExpectedLengths",
    "Refilled",
    "Scoring",
    "hosted",
    "request_seed",
    "scored_groups",
]
