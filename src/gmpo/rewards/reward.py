"""The base class of rewards."""

from __future__ import annotations

import logging
from abc import ABC, abstractmethod
from collections.abc import Sequence
from concurrent.futures import Future

from gmpo.rewards.scores import as_score, values_of
from gmpo.run.errors import RewardError

log = logging.getLogger(__name__)


class Reward(ABC):
    """Scores responses against answers; `score` is all that a reward must implement."""

    verifier: Reward | None = None  # judges responses in validation and evaluation; None: the reward itself

    @abstractmethod
    def score(self, responses: Sequence[str], answers: Sequence[str]) -> list[float]:
        """Return one number for each response; it must not raise for a strange response."""

    def submit(self, response: str, answer: str) -> Future[float]:
        """Return a future of one response's score; a class that overrides this is asked during generation."""
        score: Future[float] = Future()
        score.set_result(as_score(values_of(self.score, [response], [answer])[0]))
        return score

    def answer(self, response: str) -> str | None:
        """Return the final answer of a response, for majority votes."""
        return None

    def report(self) -> dict[str, float]:
        """Return metrics since the last report, which are logged as reward/NAME."""
        return {}

    def close(self) -> None:  # noqa: B027  (most rewards have nothing to end)
        """End what the reward started."""

    @property
    def streams(self) -> bool:
        """Whether responses are submitted while others are generated, instead of scored in one call at the end."""
        return type(self).submit is not Reward.submit

    @property
    def reads_answers(self) -> bool:
        """Whether `answer` is overridden, so that majority votes can be counted."""
        return type(self).answer is not Reward.answer


class Instant(Reward):
    """A reward that takes no time: each response is scored as soon as it is finished."""

    @property
    def streams(self) -> bool:
        return True


class _ScoreOnly(Reward):
    """A user's reward that has `score` and inherits nothing."""

    def __init__(self, reward: Reward) -> None:
        self.reward = reward

    def score(self, responses: Sequence[str], answers: Sequence[str]) -> list[float]:
        return self.reward.score(responses, answers)


def as_reward(reward: Reward) -> Reward:
    """Return a reward that has all of `Reward`'s methods; a class that only has `score` need not inherit it.

    Raises ValueError for a class that inherits nothing and has more, or no `score`.
    """
    if isinstance(reward, Reward):
        return reward
    names, kind = set(dir(reward)), type(reward).__name__  # a user's class: nothing else tells what it has
    if "score" not in names:
        raise ValueError(f"the reward {kind} has no method score(responses, answers): give it one")
    if more := sorted(names & {"submit", "answer", "report", "close", "verifier"}):
        raise ValueError(
            f"the reward {kind} has {', '.join(more)} and does not inherit gmpo.rewards.Reward: write "
            f"`class {kind}(Reward)`"
        )
    return _ScoreOnly(reward)


def verifier_of(reward: Reward) -> Reward:
    """Return the reward that validation and evaluation use."""
    own = as_reward(reward)
    return own if own.verifier is None else as_reward(own.verifier)


def report_of(reward: Reward) -> dict[str, float]:
    """Return a reward's metrics since the last report; warn of values that are no finite numbers."""
    found: dict[str, float] = {}
    try:
        reported = dict(as_reward(reward).report())
    except Exception as error:  # noqa: BLE001  (a reward is a user's code)
        log.warning("the report of %s is not logged: %s: %s", type(reward).__name__, type(error).__name__, error)
        return found
    for name, value in reported.items():
        try:
            found[name] = as_score(value)
        except RewardError as error:
            log.warning("reward/%s is not logged: %s", name, error)
    return found
