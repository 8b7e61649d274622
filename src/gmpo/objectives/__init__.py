"""Objectives: one class, one file, one YAML each."""

from gmpo.objectives.gmpo import GMPO
from gmpo.objectives.grpo import GRPO

__all__ = ["GMPO", "GRPO"]
