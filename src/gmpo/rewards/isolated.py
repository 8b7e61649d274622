"""Any reward in processes that can be killed."""

from collections.abc import Sequence
from concurrent.futures import Future, TimeoutError

from pebble import ProcessExpired, ProcessPool

from gmpo.rewards.reward import Reward, as_reward
from gmpo.rewards.scores import as_score, values_of
from gmpo.run.errors import RewardError
from gmpo.verifier.process_pool import start_pool

_reward: Reward | None = None  # that of a process of the pool


class Isolated(Reward):
    """Scores with copies of `reward` in processes of their own, one response at a time.

    One that takes longer than `timeout` seconds, or more than `memory_gib` beyond what it began with, is killed and
    replaced, and its response fails with RewardError. The reward must be picklable.
    """

    def __init__(self, reward: Reward, processes: int = 2, timeout: float = 10.0, memory_gib: float = 2.0) -> None:
        if processes < 1 or timeout <= 0 or memory_gib <= 0:
            raise ValueError(
                f"reward.processes={processes}, reward.timeout={timeout} and reward.memory_gib={memory_gib} must be "
                "positive"
            )
        self.reward = as_reward(reward)
        self.processes = processes
        self.timeout = timeout
        self.memory_gib = memory_gib
        self._pool: ProcessPool | None = None

    @property
    def reads_answers(self) -> bool:
        return self.reward.reads_answers

    def answer(self, response: str) -> str | None:
        return self.reward.answer(response)

    def score(self, responses: Sequence[str], answers: Sequence[str]) -> list[float]:
        """Return the scores; raise the error of the first response without one."""
        scores = [self.submit(*pair) for pair in zip(responses, answers, strict=True)]
        return [score.result() for score in scores]

    def submit(self, response: str, answer: str) -> Future[float]:
        """Return a future of one response's score."""
        if self._pool is None:
            self._pool = start_pool(self.processes, int(self.memory_gib * 2**30), "spawn", _take, self.reward)
        score: Future[float] = Future()
        done = self._pool.schedule(_score, args=(response, answer), timeout=self.timeout)
        done.add_done_callback(lambda found: self._settle(found, score))
        return score

    def close(self) -> None:
        """End the processes."""
        if self._pool is not None:
            self._pool.stop()
            self._pool.join()
            self._pool = None

    def _settle(self, done: Future[float], score: Future[float]) -> None:
        try:
            score.set_result(done.result())
        except TimeoutError:
            score.set_exception(RewardError(f"no score within reward.timeout={self.timeout} s"))
        except (ProcessExpired, MemoryError):
            score.set_exception(
                RewardError(f"its process died, perhaps for exceeding reward.memory_gib={self.memory_gib}")
            )
        except Exception as error:  # noqa: BLE001  (whatever the reward raised)
            score.set_exception(error)


def _take(reward: Reward) -> None:
    global _reward
    _reward = reward


def _score(response: str, answer: str) -> float:
    assert _reward is not None, "the worker was prepared"
    return as_score(values_of(_reward.score, [response], [answer])[0])
