"""The policy: its model, its log-probabilities, and the LightningModule that updates it."""

from gmpo.policy.model import ModelSource
from gmpo.policy.module import PolicyModule, Skipped

__all__ = ["ModelSource", "PolicyModule", "Skipped"]
