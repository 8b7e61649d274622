"""Scored groups from this rank's engine: with the policy's newest weights, or one rollout step ahead."""

from __future__ import annotations

import logging
from collections import Counter, deque
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field
from typing import Any

from gmpo.metrics.clock import StepClock
from gmpo.parallel.collectives import gather, rank, world_size
from gmpo.parallel.layout import EngineLayout
from gmpo.policy.module import PolicyModule
from gmpo.rewards import Reward, close, report_of, verifier_of
from gmpo.rollout import Engine, ExpectedLengths, Scoring, request_seed, score, timed
from gmpo.rollout.group_state import as_groups, as_state
from gmpo.run.errors import LOGITS_NOT_FINITE, EngineError, NonFiniteError, RunError
from gmpo.types import Group, Prompt, Request, Sampling

log = logging.getLogger(__name__)

Asked = Counter[tuple[str, int]]  # responses that a rollout step has asked for, by source and index of the prompt


@dataclass
class Ahead:
    """The groups of the next rollout step, under way beside the update of this one."""

    rollout_step: int
    policy_version: int  # of the weights that they are sampled from
    asked: Asked
    future: Future[list[Group]]
    clock: StepClock = field(default_factory=StepClock)
    report: dict[str, float] | None = None  # of the reward; None: not waited for yet


class Generation:
    """Generates and scores on all ranks together; an engine that fails is started again, once.

    seed: the run's, from which each request's is derived.
    """

    def __init__(self, engine: Engine, reward: Reward, seed: int, scoring: Scoring) -> None:
        self.engine = engine
        self.reward = reward
        self.seed = seed
        self.scoring = scoring
        self.lengths = ExpectedLengths()
        self._ahead: Ahead | None = None
        self._saved: dict[str, Any] | None = None  # from a checkpoint, until its step comes
        self._beside = ThreadPoolExecutor(1, "generation")

    def start(self) -> None:
        """Start the engine."""
        if errors := _errors(self.engine.start):
            raise errors[0]

    def close(self) -> None:
        """End the engine, whatever it is at, and the reward's processes."""
        self.engine.close()
        self._beside.shutdown()
        close(self.reward)

    def groups(
        self,
        policy: PolicyModule,
        prompts: list[Prompt],
        sampling: Sampling,
        samples: int,
        purpose: str,
        asked: Asked | None = None,
    ) -> list[Group]:
        """A scored group for each prompt of this rank's engine, generated with the policy's newest weights.

        prompts: of all ranks; engines take them in turn, and the first rank of each keeps the groups. asked: how many
        responses to each prompt this step has had already, counted on here.
        """
        asked = Asked() if asked is None else asked
        requests = self._requests(prompts, sampling, samples, purpose, policy.rollout_step, asked)
        reward = self.reward if purpose == "train" else verifier_of(self.reward)

        def make() -> list[Group]:
            return self._make(prompts, requests, reward, policy.clock)

        groups, errors = self._try(policy, make)
        if errors and _another_start_may_help(errors):
            if rank() == 0:
                log.error("step %d: %s. It is started again, once", policy.rollout_step, errors[0])
            errors = self._restart()
            if not errors:
                groups, errors = self._try(policy, make)
        if errors:
            raise _reason(policy, errors)
        return groups

    def begin_ahead(self, policy: PolicyModule, prompts: list[Prompt], sampling: Sampling, samples: int) -> None:
        """Have the groups of the next rollout step generated with the weights of now, while this goes on.

        An engine that takes no weights is left to `groups`, which asks it again.
        """
        if self._load_weights(policy):
            return
        step, asked, clock = policy.rollout_step + 1, Asked(), StepClock()
        clock.mark = policy.clock.mark
        requests = self._requests(prompts, sampling, samples, "train", step, asked)
        future = self._beside.submit(self._make, prompts, requests, self.reward, clock)
        self._ahead = Ahead(step, policy.policy_version, asked, future, clock)

    def finish_ahead(self, policy: PolicyModule) -> None:
        """Wait until what was begun is done: nothing goes on beside what comes now. What it failed of is told later."""
        if self._ahead is not None:
            with policy.clock("generate"):
                wait([self._ahead.future])
            self._ahead.report = report_of(self.reward)

    def take_ahead(self, policy: PolicyModule, prompts: list[Prompt]) -> tuple[Ahead, list[Group]] | None:
        """What was generated for this rollout step, if anything was and it did not fail of its engine; collective.

        prompts: of the step, those that it was begun with.
        """
        ahead, self._ahead = self._ahead or self._from_checkpoint(policy.rollout_step, prompts), None
        self._saved = None
        if ahead is None:
            return None
        groups: list[Group] = []
        errors = _errors(lambda: groups.extend(ahead.future.result()))
        if not errors:
            return ahead, groups
        if _another_start_may_help(errors):
            if rank() == 0:
                log.error("step %d: %s, while it generated ahead", policy.rollout_step, errors[0])
            return None
        raise _reason(policy, errors)

    def state(self) -> dict[str, Any]:
        """What every rank has generated ahead, and lengths, for a checkpoint between two steps; collective."""
        ahead = self._ahead
        done = ahead is not None and ahead.report is not None and ahead.future.exception() is None
        own = None if ahead is None or not done else as_state(ahead.future.result()) | {"report": ahead.report}
        of_ranks, lengths = gather(own), {"lengths": self.lengths.state()}
        if ahead is None or None in of_ranks:
            return lengths
        return lengths | {
            "rollout_step": ahead.rollout_step,
            "policy_version": ahead.policy_version,
            "ranks": of_ranks,
        }

    def load_state(self, state: dict[str, Any]) -> None:
        """Take it from there; other numbers of ranks generate anew."""
        self._saved = state if len(state.get("ranks", [])) == world_size() else None
        self.lengths.load_state(state["lengths"])

    def _from_checkpoint(self, step: int, prompts: list[Prompt]) -> Ahead | None:
        if self._saved is None or self._saved["rollout_step"] != step:
            return None
        own, asked = self._saved["ranks"][rank()], Asked()
        future = Future[list[Group]]()
        future.set_result(as_groups(own, self._own(prompts)))
        for prompt in prompts:
            asked[prompt.benchmark_name, prompt.index] += own["samples"]
        return Ahead(step, self._saved["policy_version"], asked, future, report=own["report"])

    def _try(self, policy: PolicyModule, make: Callable[[], list[Group]]) -> tuple[list[Group], list[RunError]]:
        """One generation with the newest weights, and what it failed of on any rank."""
        if errors := self._load_weights(policy):
            return [], errors
        groups: list[Group] = []
        errors = _errors(lambda: groups.extend(make()))
        return groups, errors

    def _load_weights(self, policy: PolicyModule) -> list[RunError]:
        if min(gather(self.engine.policy_version)) == policy.policy_version:
            return []
        with policy.clock("weight_sync"):
            weights = policy.weights(policy.pretrained.compute_dtype)
            return _errors(lambda: self.engine.load_weights(weights, policy.policy_version))

    def _make(
        self, prompts: list[Prompt], requests: list[list[Request]], reward: Reward, clock: StepClock
    ) -> list[Group]:
        layout = self.layout
        own, own_requests = self._own(prompts), requests[layout.engine :: layout.engines]
        asked = [request for place in self.lengths.longest_first(own) for request in own_requests[place]]
        responses = timed(self.engine.generate(asked), len(asked), clock)
        if not layout.leads:
            deque(responses, maxlen=0)
            return []
        rollouts = dict(score(responses, reward, self.scoring, clock))
        return [
            Group(prompt, [rollouts[request] for request in group])
            for prompt, group in zip(own, own_requests, strict=True)
        ]

    def _restart(self) -> list[RunError]:
        def restart() -> None:
            self.engine.close()
            self.engine.start()

        return _errors(restart)

    @property
    def layout(self) -> EngineLayout:
        """Which ranks the engine of this rank spans."""
        return EngineLayout(rank(), world_size(), self.engine.tensor_parallel)

    def _own(self, prompts: list[Prompt]) -> list[Prompt]:
        return prompts[self.layout.engine :: self.layout.engines]

    def _requests(
        self, prompts: list[Prompt], sampling: Sampling, samples: int, purpose: str, step: int, asked: Asked
    ) -> list[list[Request]]:
        """Return the requests of each prompt; one that is asked twice in a step gets other responses then."""
        requests = []
        for prompt in prompts:
            already = asked[prompt.benchmark_name, prompt.index]
            seeds = [request_seed(self.seed, purpose, step, prompt.index, already + i) for i in range(samples)]
            requests.append([Request(prompt, seed, sampling) for seed in seeds])
            asked[prompt.benchmark_name, prompt.index] += samples
        return requests


def _another_start_may_help(errors: list[RunError]) -> bool:
    return all(isinstance(error, EngineError) and not isinstance(error, NonFiniteError) for error in errors)


def _reason(policy: PolicyModule, errors: list[RunError]) -> RunError:
    """The first error; where logits are not finite, one that names the policy's weights that are not. Collective."""
    if not any(isinstance(error, NonFiniteError) for error in errors):
        return errors[0]
    dtype = policy.pretrained.compute_dtype
    names = [name for name, tensor in policy.weights(dtype) if not tensor.isfinite().all()]
    if not names:
        return NonFiniteError(
            f"{LOGITS_NOT_FINITE}: the policy's weights are all finite, so that computing in {dtype} overflows. Choose "
            "cluster.dtype=float32 or another model.attention"
        )
    named = f"{names[0]} and {len(names) - 1} more" if len(names) > 1 else names[0]
    return NonFiniteError(
        f"{LOGITS_NOT_FINITE}: {named} of the policy (after {policy.policy_version} updates). Begin from other "
        "weights, or from a checkpoint before them (resume=RUN/checkpoints/step-N)"
    )


def _errors(act: Callable[[], None]) -> list[RunError]:
    """Do something on all ranks; returns what it failed of on any of them, there the same for all."""
    own: RunError | None = None
    try:
        act()
    except RunError as error:
        own = error
    return [error for error in gather(own) if error is not None]
