"""Engines that generate responses, behind one protocol, and the refills of dynamic sampling."""

from gmpo.rollout.dynamic_sampling import DynamicSampling, Refilled
from gmpo.rollout.engine import Engine, request_seed
from gmpo.rollout.request_order import ExpectedLengths
from gmpo.rollout.scoring import Scoring, score, timed
from gmpo.rollout.subprocess_engine import SubprocessEngine
from gmpo.rollout.supervised import Supervised

__all__ = [
    "DynamicSampling",
    "Engine",
    "ExpectedLengths",
    "Refilled",
    "Scoring",
    "SubprocessEngine",
    "Supervised",
    "request_seed",
    "score",
    "timed",
]
