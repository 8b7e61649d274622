"""What a reward is."""

import logging
from collections.abc import Sequence
from concurrent.futures import Future
from typing import Protocol

from gmpo.rewards.scores import as_score, values_of
from gmpo.run.errors import RewardError

log = logging.getLogger(__name__)


class Reward(Protocol):
    """Scores responses against answers; `score` is all that a reward must have.

    Where it has `submit`, responses are scored while others are still generated; where it has `answer`, majority
    votes can be counted; where it has `report`, what that returns is logged as reward/NAME; `close` ends what it
    started. `verifier` is the reward that says whether a response is right, where that is another one.
    """

    def score(self, responses: Sequence[str], answers: Sequence[str]) -> list[float]:
        """One number for each response; it never raises for a strange response."""
        ...


class Instant:
    """Gives a reward that needs no time its `submit`."""

    def score(self, responses: Sequence[str], answers: Sequence[str]) -> list[float]:
        """As `Reward`."""
        raise NotImplementedError

    def submit(self, response: str, answer: str) -> Future[float]:
        """The score of one response, known at once."""
        score: Future[float] = Future()
        score.set_result(as_score(values_of(self.score, [response], [answer])[0]))
        return score


def verifier_of(reward: Reward) -> Reward:
    """The reward that says whether a response is right: validation and evaluation go by it."""
    return getattr(reward, "verifier", reward)


def report_of(reward: Reward) -> dict[str, float]:
    """Return what a reward has to log since it was last asked, by name; warn of what is no finite number."""
    report = getattr(reward, "report", dict)
    found: dict[str, float] = {}
    try:
        reported = dict(report())
    except Exception as error:  # noqa: BLE001  (a reward is a user's code)
        log.warning("what %s reports is not logged: %s: %s", type(reward).__name__, type(error).__name__, error)
        return found
    for name, value in reported.items():
        try:
            found[name] = as_score(value)
        except RewardError as error:
            log.warning("reward/%s is not logged: %s", name, error)
    return found


def close(reward: Reward) -> None:
    """End what a reward started."""
    if hasattr(reward, "close"):
        reward.close()
