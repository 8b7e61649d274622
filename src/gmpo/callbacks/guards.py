"""Bounds for the metrics that show a collapse early."""

import logging
import math
from dataclasses import dataclass
from typing import Literal

from lightning import Trainer

from gmpo.callbacks.checkpoint import COMPARED
from gmpo.callbacks.ordered import OrderedCallback
from gmpo.parallel.collectives import rank
from gmpo.policy.module import PolicyModule
from gmpo.types import PromptBatch

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Guard:
    """Inclusive bounds for one metric. low, high: null is no bound."""

    metric: str
    cause: str  # the likely cause of a violation, and the remedy
    low: float | None = None
    high: float | None = None

    def __post_init__(self) -> None:
        if "/" not in str(self.metric):
            raise ValueError(f"metric={self.metric} of a guard is no metric's name, such as policy/entropy")
        if self.low is not None and self.high is not None and self.low > self.high:
            raise ValueError(f"the guard of {self.metric} has low={self.low} above high={self.high}: swap them")

    def broken_by(self, value: float) -> str | None:
        """Return the bound that a value violates, in words; NaN violates any."""
        if math.isnan(value) and (self.low is not None or self.high is not None):
            return "not a number"
        if self.low is not None and value < self.low:
            return f"below {self.low:g}"
        if self.high is not None and value > self.high:
            return f"above {self.high:g}"
        return None


class GuardsCallback(OrderedCallback):
    """Checks metrics after each rollout step; warns when one leaves its bounds, or stops the run.

    guards: by any name. A metric that a step does not log is not checked there. One that the run does not log at all
    is warned of once: after the first validation if it is named val/..., else after the first update.
    """

    order = 80

    def __init__(self, on_violation: Literal["warn", "stop"], **guards: Guard) -> None:
        if on_violation not in ("warn", "stop"):
            raise ValueError(f"guards.on_violation={on_violation} must be warn or stop")
        self.guards = guards
        self.stops = on_violation == "stop"
        self._broken: set[str] = set()  # names; reported once until the bound holds again
        self._looked_for: set[bool] = set()  # True: among metrics of a validation; False: of an update

    def state_dict(self) -> dict[str, list[str]]:
        """Return the names of violated guards."""
        return {"broken": sorted(self._broken)}

    def load_state_dict(self, state_dict: dict[str, list[str]]) -> None:
        """Restore the names of violated guards."""
        self._broken = set(state_dict["broken"])

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: PolicyModule, outputs: object, batch: PromptBatch, batch_idx: int
    ) -> None:
        """Compare metrics with their bounds."""
        if COMPARED in trainer.callback_metrics:
            self._look_for_names(trainer, of_validation=False)
            if not trainer.enable_validation:
                self._look_for_names(trainer, of_validation=True)
        for name, guard in self.guards.items():
            if guard.metric not in trainer.callback_metrics:
                continue
            value = float(trainer.callback_metrics[guard.metric])
            bound = guard.broken_by(value)
            if bound is None:
                self._broken.discard(name)
            elif name not in self._broken:
                self._broken.add(name)
                said = f"step {pl_module.state.rollout_step}: {guard.metric} is {value:.4g}, {bound} (guards.{name}): "
                self._say(pl_module, said + guard.cause)

    def on_validation_end(self, trainer: Trainer, pl_module: PolicyModule) -> None:
        """Warn of guards for validation metrics that the run does not log."""
        self._look_for_names(trainer, of_validation=True)

    def _look_for_names(self, trainer: Trainer, of_validation: bool) -> None:
        if of_validation in self._looked_for:
            return
        self._looked_for.add(of_validation)
        sought = {
            name: guard.metric for name, guard in self.guards.items() if _is_of_validation(guard) == of_validation
        }
        for name, metric in sought.items():
            if metric not in trainer.callback_metrics and rank() == 0:
                log.warning(
                    "guards.%s watches nothing: this run logs no metric %s. Set guards.%s.metric to a column of "
                    "metrics.csv, or leave the guard out by ~guards.%s",
                    *(name, metric, name, name),
                )

    def _say(self, policy: PolicyModule, said: str) -> None:
        if self.stops:
            policy.state.stop(said)
        elif rank() == 0:
            log.warning("%s", said)


def _is_of_validation(guard: Guard) -> bool:
    return guard.metric.startswith("val/")
