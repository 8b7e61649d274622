"""Errors that end a run on all ranks together, with everything saved."""

LOGITS_NOT_FINITE = "the model's logits are not finite: its weights hold NaN or infinity, or its dtype overflows"


class RunError(RuntimeError):
    """A failure outside the trainer; its text says what failed, and the remedy."""


class EngineError(RunError):
    """An engine that died or does not answer."""


class NonFiniteError(EngineError):
    """A model without a distribution to sample from: another start of the engine would not help."""


class RewardError(RunError):
    """A reward that raised, died or did not answer."""


class ModelError(RunError, ValueError):
    """A model that cannot be loaded or trained."""
