"""Prompts become scored groups: now, or prefetched one rollout step ahead."""

from __future__ import annotations

import logging
from collections import Counter, deque
from collections.abc import Generator
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import closing
from dataclasses import dataclass, field
from operator import itemgetter
from typing import Any, TypeVar

from gmpo.metrics.clock import StepClock
from gmpo.parallel.agreement import raised_on_all_ranks, tried
from gmpo.parallel.collectives import exchange, gather, rank, world_size
from gmpo.rewards import Overlong, Reward, as_reward, report_of, verifier_of
from gmpo.rollout.engine import request_seed
from gmpo.rollout.group_state import as_groups, as_state
from gmpo.rollout.request_order import ExpectedLengths
from gmpo.rollout.scoring import Scoring, score, timed
from gmpo.rollout.supervised import Supervised, another_start_may_help
from gmpo.run.state import RunState
from gmpo.types import Group, Prompt, Request, Response, Sampling, Stage

T = TypeVar("T")

log = logging.getLogger(__name__)

OwnRequests = list[tuple[Prompt, list[Request]]]  # of this rank's engine
Asked = Counter[tuple[str, int]]  # responses requested in a rollout step, by benchmark and index of the prompt


@dataclass(frozen=True)
class GroupSampling:
    """The responses to request for each prompt of a stage."""

    stage: Stage
    sampling: Sampling
    samples: int  # responses to each prompt

    def __post_init__(self) -> None:
        if self.samples < 1:
            raise ValueError(f"samples of {self.stage} must be at least 1, not {self.samples}")


@dataclass
class Collected:
    """The first groups of a rollout step, from this rank's engine."""

    groups: list[Group] = field(default_factory=list)
    asked: Asked = field(default_factory=Asked)
    report: dict[str, float] | None = None  # the reward's; None: not taken yet
    metrics: dict[str, float] = field(default_factory=dict)  # of prefetching


@dataclass
class Prefetch:
    """The next rollout step's groups, generated during this one's update."""

    rollout_step: int
    policy_version: int  # of the weights that they are sampled from
    asked: Asked
    future: Future[list[Group]]
    clock: StepClock = field(default_factory=StepClock)
    report: dict[str, float] | None = None  # the reward's; None: not waited for yet


class Collector:
    """Generates and scores groups on all ranks together; every method but `close` is collective.

    Training uses the reward, validation its verifier. overlong: penalties and filters of training. seed: the run's,
    from which each request's is derived. prefetches: whether the next step's groups are generated ahead.
    """

    def __init__(
        self, engine: Supervised, reward: Reward, overlong: Overlong, seed: int, scoring: Scoring, prefetches: bool
    ) -> None:
        self.engine = engine
        self.reward = as_reward(reward)
        self.overlong = overlong
        self.seed = seed
        self.scoring = scoring
        self.prefetches = prefetches
        self.lengths = ExpectedLengths()
        self.state = RunState()  # replaced by the run's in `attach`
        self._prefetch: Prefetch | None = None
        self._saved: dict[str, Any] | None = None  # a checkpoint's prefetched groups, until their step begins
        self._beside = ThreadPoolExecutor(1, "generation")

    def attach(self, state: RunState) -> None:
        """Take the state of the run whose steps are generated from now on."""
        self.state = state
        self.engine.attach(state)

    def close(self) -> None:
        """End this rank's engine, even while it generates, and the reward's processes."""
        self.engine.close()
        self._beside.shutdown()
        self.reward.close()

    def first_groups(self, prompts: list[Prompt], each: GroupSampling) -> Collected:
        """Return the first groups of this rollout step: prefetched, or generated now by the synced weights.

        prompts: of all ranks; engines take them in turn, and the first rank of each keeps the groups.
        """
        prefetch = self._prefetch or self._from_checkpoint(prompts)
        self._prefetch = self._saved = None
        if prefetch is None or (groups := self._finished(prefetch)) is None:
            self.state.staleness = 0
            first, seconds = Collected(), StepClock().seconds
            first.groups = self.groups(prompts, each, first.asked)
        else:
            self.state.staleness = self.state.policy_version - prefetch.policy_version
            first, seconds = Collected(groups, prefetch.asked, prefetch.report or {}), prefetch.clock.seconds
            self.state.clock.seconds["generate_tail"] += seconds["generate_tail"]
        if self.prefetches:
            first.metrics["rollout/staleness"] = float(self.state.staleness)
            first.metrics["time/prefetch"] = seconds["generate"] + seconds["reward"]
        self._penalize(first.groups)
        return first

    def fresh_groups(self, prompts: list[Prompt], owners: list[int], each: GroupSampling, asked: Asked) -> list[Group]:
        """Generate groups of further prompts on all engines, and return those that this rank lacks.

        owners: the rank that each prompt's group is for.
        """
        outgoing: list[list[tuple[int, Group]]] = [[] for _ in range(world_size())]
        layout = self.engine.layout
        for turn, group in enumerate(self.groups(prompts, each, asked)):
            number = layout.engine + turn * layout.engines
            outgoing[owners[number]].append((number, group))
        groups = [group for _, group in sorted(exchange(outgoing), key=itemgetter(0))]
        self._penalize(groups)
        return groups

    def groups(self, prompts: list[Prompt], each: GroupSampling, asked: Asked | None = None) -> list[Group]:
        """Return a scored group for each prompt of this rank's engine, generated by the synced weights.

        asked: responses to each prompt requested in this step so far; updated in place.
        """
        reward = self.reward if each.stage is Stage.TRAIN else verifier_of(self.reward)
        own = self._requests(prompts, each, self.state.rollout_step, Asked() if asked is None else asked)
        with raised_on_all_ranks():
            return self._scored(own, self.engine.generate(self._longest_first(own)), reward, self.state.clock)

    def prefetch(self, prompts: list[Prompt], each: GroupSampling) -> None:
        """Begin the groups of the next rollout step, of the synced weights, in a thread of their own."""
        step, asked, clock = self.state.rollout_step + 1, Asked(), StepClock()
        clock.mark = self.state.clock.mark
        own = self._requests(prompts, each, step, asked)
        requests = self._longest_first(own)
        # not the supervised engine: here ranks cannot meet, and errors wait in the future
        responses = timed(self.engine.engine.generate(requests), requests, clock)
        future = self._beside.submit(self._scored, own, responses, self.reward, clock)
        self._prefetch = Prefetch(step, self.state.policy_version, asked, future, clock)

    def wait(self) -> None:
        """Wait for prefetched groups; `first_groups` raises their errors or generates again."""
        if self._prefetch is not None:
            with self.state.clock("generate"):
                wait([self._prefetch.future])
            self._prefetch.report = report_of(self.reward)

    def state_dict(self) -> dict[str, Any]:
        """Return every rank's prefetched groups, and expected lengths, for a checkpoint between two steps."""
        prefetch = self._prefetch
        done = prefetch is not None and prefetch.report is not None and prefetch.future.exception() is None
        local = as_state(prefetch.future.result()) | {"report": prefetch.report} if prefetch and done else None
        of_ranks, lengths = gather(local), {"lengths": self.lengths.state_dict()}
        if prefetch is None or None in of_ranks:
            return lengths
        return lengths | {
            "rollout_step": prefetch.rollout_step,
            "policy_version": prefetch.policy_version,
            "ranks": of_ranks,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore expected lengths, and prefetched groups if this run prefetches too, on as many ranks."""
        self._saved = state if self.prefetches and len(state.get("ranks", [])) == world_size() else None
        self.lengths.load_state_dict(state["lengths"])

    def _penalize(self, groups: list[Group]) -> None:
        """Apply the length penalty and the overlong filter."""
        for group in groups:
            for rollout in group.rollouts:
                rollout.penalty = self.overlong.penalty(rollout.response)
                rollout.in_loss = self.overlong.in_loss(rollout.response)

    def _finished(self, prefetch: Prefetch) -> list[Group] | None:
        """Return prefetched groups; None if an engine failed on any rank, and must generate again."""
        groups: list[Group] = []
        errors = tried(lambda: groups.extend(prefetch.future.result()))
        if errors and not another_start_may_help(errors):
            raise self.engine.reason(errors)
        if errors and rank() == 0:
            log.error("step %d: %s, while it generated ahead", self.state.rollout_step, errors[0])
        return None if errors else groups

    def _from_checkpoint(self, prompts: list[Prompt]) -> Prefetch | None:
        if self._saved is None or self._saved["rollout_step"] != self.state.rollout_step:
            return None
        local, asked = self._saved["ranks"][rank()], Asked()
        future = Future[list[Group]]()
        future.set_result(as_groups(local, self._of_engine(prompts)))
        for prompt in prompts:
            asked[prompt.benchmark_name, prompt.index] += local["samples"]
        return Prefetch(self.state.rollout_step, self._saved["policy_version"], asked, future, report=local["report"])

    def _scored(
        self, own: OwnRequests, responses: Generator[tuple[Request, Response]], reward: Reward, clock: StepClock
    ) -> list[Group]:
        """Return the groups on the rank that keeps its engine's responses; others drop them."""
        with closing(responses):  # on any error, the engine is released before it is closed
            if not self.engine.layout.leads:
                deque(responses, maxlen=0)
                return []
            rollouts = dict(score(responses, reward, self.scoring, clock))
        return [Group(prompt, [rollouts[request] for request in requests]) for prompt, requests in own]

    def _longest_first(self, own: OwnRequests) -> list[Request]:
        order = self.lengths.longest_first([prompt for prompt, _ in own])
        return [request for place in order for request in own[place][1]]

    def _requests(self, prompts: list[Prompt], each: GroupSampling, step: int, asked: Asked) -> OwnRequests:
        """Return the requests for this rank's engine; a prompt that occurs twice in a step gets other seeds."""
        requests = []
        for prompt in prompts:
            already = asked[prompt.benchmark_name, prompt.index]
            asked[prompt.benchmark_name, prompt.index] += each.samples
            numbers = range(already, already + each.samples)
            seeds = [request_seed(self.seed, each.stage, step, prompt.index, number) for number in numbers]
            requests.append((prompt, [Request(prompt, seed, each.sampling) for seed in seeds]))
        return self._of_engine(requests)

    def _of_engine(self, of_prompts: list[T]) -> list[T]:
        """Return the entries of the prompts that this rank's engine takes."""
        return of_prompts[self.engine.layout.engine :: self.engine.layout.engines]
