"""The state of a run: its counters, its clock, and the reason it stops."""

from gmpo.metrics.clock import StepClock


class RunState:
    """The state of a run, the same on every rank: `training` owns it, policy and callbacks share it.

    steps: rollout steps that the run makes. Not a dataclass: Hydra would pass on a copy of one.
    """

    def __init__(self, steps: int = 1) -> None:
        self.steps = steps
        self.rollout_step = 0  # rollout steps begun; 0 before the first
        self.policy_version = 0  # optimizer steps made
        self.skipped_in_a_row = 0  # optimizer steps, up to the last one
        self.staleness = 0  # of the sampling weights, in optimizer steps before this rollout step's first
        self.stop_reason: str | None = None  # once set, training ends without a further update
        self.clock = StepClock()

    @property
    def progress(self) -> float:
        """Progress of the run: 0 in its first rollout step, 1 in its last."""
        return min(1.0, max(0, self.rollout_step - 1) / max(1, self.steps - 1))

    def begin_step(self) -> None:
        """Count a rollout step, and restart the clock."""
        self.rollout_step += 1
        self.clock.restart()

    def stop(self, reason: str) -> None:
        """Have training end; the first reason is kept."""
        self.stop_reason = self.stop_reason or reason

    def state_dict(self) -> dict[str, int]:
        """Return the counts for a checkpoint."""
        return {
            "rollout_step": self.rollout_step,
            "policy_version": self.policy_version,
            "skipped_in_a_row": self.skipped_in_a_row,
        }

    def load_state_dict(self, counts: dict[str, int]) -> None:
        """Restore the counts of a checkpoint."""
        self.rollout_step = counts["rollout_step"]
        self.policy_version = counts["policy_version"]
        self.skipped_in_a_row = counts["skipped_in_a_row"]
