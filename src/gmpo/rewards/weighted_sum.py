"""Several rewards as one."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from concurrent.futures import Future
from statistics import fmean
from threading import Lock

from gmpo.rewards.reward import Reward, as_reward, report_of, verifier_of
from gmpo.rewards.scores import as_score, values_of
from gmpo.run.errors import RewardError


class WeightedSum(Reward):
    """The sum of rewards, each times its weight; each one's mean is logged as reward/NAME.

    rewards and weights have the same names. verifier: the name of the one that judges responses in validation.
    Responses are scored while others are generated if all rewards can do so.
    """

    def __init__(self, rewards: Mapping[str, Reward], weights: Mapping[str, float], verifier: str) -> None:
        if rewards.keys() != weights.keys():
            raise ValueError(
                f"reward.weights names {sorted(weights)} and reward.rewards {sorted(rewards)}: give each a weight"
            )
        if verifier not in rewards:
            raise ValueError(f"reward.verifier={verifier} is none of reward.rewards: {', '.join(rewards)}")
        self.rewards, self.weights = {name: as_reward(reward) for name, reward in rewards.items()}, dict(weights)
        self.verifier = verifier_of(self.rewards[verifier])
        self._scores: dict[str, list[float]] = defaultdict(list)  # since the last report

    @property
    def streams(self) -> bool:
        return all(reward.streams for reward in self.rewards.values())

    def score(self, responses: Sequence[str], answers: Sequence[str]) -> list[float]:
        scores = {name: values_of(reward.score, responses, answers) for name, reward in self.rewards.items()}
        return [self._sum({name: own[i] for name, own in scores.items()}) for i in range(len(responses))]

    def submit(self, response: str, answer: str) -> Future[float]:
        parts = {name: reward.submit(response, answer) for name, reward in self.rewards.items()}
        total, lock = Future[float](), Lock()

        def settle(part: Future[float]) -> None:
            with lock:  # parts end in threads of their own
                if total.done() or not (part.exception() or all(other.done() for other in parts.values())):
                    return
                try:
                    part.result()
                    total.set_result(self._sum({name: other.result() for name, other in parts.items()}))
                except Exception as error:  # noqa: BLE001  (whatever a part raised, or returned)
                    total.set_exception(error)

        for part in parts.values():
            part.add_done_callback(settle)
        return total

    def report(self) -> dict[str, float]:
        """Return the mean of each reward since the last report, and what it reports itself."""
        scores, self._scores = self._scores, defaultdict(list)
        return {name: fmean(own) for name, own in scores.items()} | {
            name: value for reward in self.rewards.values() for name, value in report_of(reward).items()
        }

    def close(self) -> None:
        """End what the rewards started."""
        for reward in self.rewards.values():
            reward.close()

    def _sum(self, values: Mapping[str, object]) -> float:
        scores = {name: self._score_of(name, value) for name, value in values.items()}
        for name, score in scores.items():
            self._scores[name].append(score)
        return as_score(sum(self.weights[name] * score for name, score in scores.items()))

    def _score_of(self, name: str, value: object) -> float:
        try:
            return as_score(value)
        except RewardError as error:
            raise RewardError(f"reward.rewards.{name}: {error}") from error
