"""What ends a run on all ranks together, with everything saved."""


class RunError(RuntimeError):
    """Something outside the trainer gave up; its text says what, and what to do."""


class EngineError(RunError):
    """An engine has died, or does not answer."""


class RewardError(RunError):
    """A reward raised, died, or did not answer."""


class ModelError(RunError, ValueError):
    """A model that cannot be loaded, or not be trained."""
