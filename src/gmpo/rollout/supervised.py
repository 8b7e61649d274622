"""Engines that are watched, restarted once, and fail on all ranks together."""

import logging
from collections.abc import Generator, Iterable, Iterator, Sequence
from typing import Protocol

import torch
from torch import Tensor

from gmpo.parallel.agreement import errors_of_ranks, raised_on_all_ranks, tried
from gmpo.parallel.collectives import gather, rank, world_size
from gmpo.parallel.layout import EngineLayout
from gmpo.rollout.engine import Engine
from gmpo.rollout.in_process_engine import InProcessEngine
from gmpo.rollout.scoring import timed
from gmpo.rollout.subprocess_engine import SubprocessEngine
from gmpo.run.errors import LOGITS_NOT_FINITE, EngineError, NonFiniteError, RunError
from gmpo.run.state import RunState
from gmpo.types import Request, Response

log = logging.getLogger(__name__)


class Policy(Protocol):
    """The part of the policy that generation needs."""

    @property
    def policy_version(self) -> int:
        """Number of optimizer steps made."""
        ...

    @property
    def compute_dtype(self) -> torch.dtype:
        """The dtype that the policy computes in, and in which engines get its weights."""
        ...

    def weights(self, dtype: torch.dtype | None = None) -> Iterator[tuple[str, Tensor]]:
        """Yield whole weights by transformers' names; every rank must iterate to the end."""
        ...


def supervised(engine: Engine, subprocess: bool, timeout: float, first_gpu: int | None = None) -> "Supervised":
    """Return a supervised engine, in this process or in its own.

    timeout: seconds without a finished response after which an engine counts as hung. first_gpu: as `SubprocessEngine`.
    """
    if not isinstance(subprocess, bool):
        raise ValueError(f"rollout.subprocess={subprocess} must be true or false")
    if isinstance(timeout, bool) or not isinstance(timeout, int | float) or timeout <= 0:
        raise ValueError(f"rollout.timeout={timeout} must be a positive number of seconds")
    if first_gpu is not None and (type(first_gpu) is not int or first_gpu < 0 or not subprocess):
        raise ValueError(
            f"rollout.first_gpu={first_gpu} must be the number of a GPU, for an engine in a process of its own "
            "(rollout.subprocess=true); null: the trainer's GPU"
        )
    return Supervised(SubprocessEngine(engine, timeout, first_gpu) if subprocess else InProcessEngine(engine, timeout))


class Supervised:
    """The engines of all ranks as one: a failure on any rank restarts them all once, or is raised on all ranks.

    Every method is collective but `close` and `sleep`. engine: this rank's; its own watchdog ends it if it hangs.
    """

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        self.tensor_parallel = engine.tensor_parallel
        self.state = RunState()  # replaced by the run's in `attach`
        self._policy: Policy | None = None  # the last one synced
        self._cannot_sleep = False

    @property
    def policy_version(self) -> int:
        """The optimizer step that this rank's weights come from."""
        return self.engine.policy_version

    @property
    def layout(self) -> EngineLayout:
        """The ranks that this rank's engine spans."""
        return EngineLayout(rank(), world_size(), self.tensor_parallel)

    def attach(self, state: RunState) -> None:
        """Take the state of the run whose steps are timed, and named in messages, from now on."""
        self.state = state

    def start(self) -> None:
        """Start the engines."""
        with raised_on_all_ranks():
            self.engine.start()

    def sync(self, policy: Policy) -> None:
        """Load the policy's weights if an engine has older ones; restart the engines once if that fails."""
        self._policy = policy
        errors = self._load_newest()
        if errors:
            self._restart(errors)

    def load_weights(self, weights: Iterable[tuple[str, Tensor]], policy_version: int) -> None:
        """Load these weights; they can be read only once, so there is no second attempt."""
        with raised_on_all_ranks():
            self.engine.load_weights(weights, policy_version)

    def generate(self, requests: Sequence[Request]) -> Generator[tuple[Request, Response]]:
        """Yield each response once, whichever attempt it comes from."""
        missing = set(requests)
        errors = yield from self._attempt(requests, missing)
        if errors:
            self._restart(errors)
            if errors := (yield from self._attempt(requests, missing)):
                raise self.reason(errors)

    def sleep(self) -> None:
        """Free the GPU's memory; warn once where the engine cannot."""
        try:
            self.engine.sleep()
        except EngineError as error:
            if not self._cannot_sleep:
                log.warning("%s, so that it keeps its memory during the update", error)
            self._cannot_sleep = True

    def close(self) -> None:
        """End this rank's engine, even while it generates."""
        self.engine.close()

    def reason(self, errors: Sequence[RunError]) -> RunError:
        """Return the first error; for logits that are not finite, one that names the weights at fault."""
        policy = self._policy
        if policy is None or not any(isinstance(error, NonFiniteError) for error in errors):
            return errors[0]
        dtype = policy.compute_dtype
        names = [name for name, tensor in policy.weights(dtype) if not tensor.isfinite().all()]
        if not names:
            return NonFiniteError(
                f"{LOGITS_NOT_FINITE}: the policy's weights are all finite, so that computing in {dtype} overflows. "
                "Choose cluster.dtype=float32 or another model.attention"
            )
        named = f"{names[0]} and {len(names) - 1} more" if len(names) > 1 else names[0]
        return NonFiniteError(
            f"{LOGITS_NOT_FINITE}: {named} of the policy (after {policy.policy_version} updates). Begin from other "
            "weights, or from a checkpoint before them (resume=RUN/checkpoints/step-N)"
        )

    def _attempt(
        self, requests: Sequence[Request], missing: set[Request]
    ) -> Generator[tuple[Request, Response], None, list[RunError]]:
        """Generate all `requests`, yield those that are `missing`, and return the errors of all ranks."""
        local: RunError | None = None
        try:
            for request, response in timed(self.engine.generate(requests), requests, self.state.clock):
                if request in missing:
                    missing.remove(request)
                    yield request, response
        except RunError as error:
            local = error
        return errors_of_ranks(local)

    def _load_newest(self) -> list[RunError]:
        policy = self._policy
        if policy is None or min(gather(self.engine.policy_version)) == policy.policy_version:
            return []
        with self.state.clock("weight_sync"):
            weights = policy.weights(policy.compute_dtype)
            return tried(lambda: self.engine.load_weights(weights, policy.policy_version))

    def _restart(self, errors: Sequence[RunError]) -> None:
        """Restart the engines of all ranks with the newest weights; raise if that fails or cannot help."""
        if not another_start_may_help(errors):
            raise self.reason(errors)
        if rank() == 0:
            log.error("step %d: %s. It is started again, once", self.state.rollout_step, errors[0])

        def restart() -> None:
            self.engine.close()
            self.engine.start()

        if errors := tried(restart) or self._load_newest():
            raise self.reason(errors)


def another_start_may_help(errors: Sequence[RunError]) -> bool:
    """Return whether only engines failed, and not because of their weights."""
    return all(isinstance(error, EngineError) and not isinstance(error, NonFiniteError) for error in errors)
