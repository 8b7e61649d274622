"""Objectives, each with one class, one file and one YAML, and the loss that they are part of."""

from gmpo.objectives.cispo import CISPO
from gmpo.objectives.correction import ImportanceSampling, NoCorrection
from gmpo.objectives.gmpo import GMPO
from gmpo.objectives.grpo import GRPO
from gmpo.objectives.gspo import GSPO
from gmpo.objectives.hmpo import HMPO
from gmpo.objectives.kl import KLPenalty
from gmpo.objectives.loss import PolicyLoss
from gmpo.objectives.sapo import SAPO

__all__ = [
    "CISPO",
    "GMPO",
    "GRPO",
    "GSPO",
    "HMPO",
    "SAPO",
    "ImportanceSampling",
    "KLPenalty",
    "NoCorrection",
    "PolicyLoss",
]
