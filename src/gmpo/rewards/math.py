"""The reward of problems whose answer is mathematics."""

from __future__ import annotations

import logging
import os
import sys
import weakref
from collections import Counter, OrderedDict
from collections.abc import Sequence
from concurrent.futures import Future
from functools import partial

from gmpo.rewards.reward import Reward
from gmpo.verifier.client import Checker
from gmpo.verifier.extraction import final_answer, last_boxed
from gmpo.verifier.notation import LONGEST_ANSWER, compare_notation, parse_answer
from gmpo.verifier.undivided import undivided

log = logging.getLogger(__name__)

MOST_PROCESSES = 8  # of one trainer process, where `processes` is not given
REMEMBERED = 4096  # checks
COUNTED = {  # outcome: name of its metric
    "no answer": "no_answer",
    "not worked out": "not_worked_out",
    "timeout": "checks_timed_out",
    "died": "checks_died",
    "unreadable": "checks_unreadable",
}
NO_VERDICT = ("timeout", "died", "unreadable")
RIGHT = ("right", "not worked out")
ALARMING = 0.05  # share of the checks


class MathReward(Reward):
    """1 where the final answer of a response means the same as the gold answer, else 0.

    `extraction.final_answer` defines the final answer; last_number: the last number of a response that has none.
    docs/verifier.md defines what means the same. Answers whose notation decides nothing are checked by math-verify in
    a pool of processes (default: one for each core, 8 at most), each check within `timeout` seconds and memory_gib of
    memory; a check that exceeds them is ended and scores 0.

    worked_out: an equal answer that leaves undone what the gold answer has computed, for example the exercise itself,
    scores 0 as well; `verifier`, which validation uses, accepts it.

    A context manager; `close` ends the processes, and so does the end of the program.
    """

    def __init__(
        self,
        timeout: float = 5.0,
        processes: int | None = None,
        last_number: bool = False,
        memory_gib: float = 1.0,
        worked_out: bool = False,
    ) -> None:
        if not timeout > 0 or not memory_gib > 0:
            raise ValueError(f"reward.timeout={timeout} (seconds) and memory_gib={memory_gib} must be above 0")
        if processes is not None and processes < 1:
            raise ValueError(f"reward.processes={processes} must be at least 1, or null for one a core")
        self.last_number = last_number
        self.worked_out = worked_out
        self._counts: Counter[str] = Counter()
        self._known: OrderedDict[tuple[str, str], Future[str]] = OrderedDict()  # the newest last
        self._checker = Checker(processes or min(MOST_PROCESSES, cores()), timeout, memory_gib, worked_out)
        weakref.finalize(self, self._checker.close)
        self._checker.start()  # its imports run while the models are loaded

    def score(self, responses: Sequence[str], answers: Sequence[str]) -> list[float]:
        """Return 1.0 for a right answer; 0.0 for a wrong one, none, or one not decided in time."""
        futures = [self.submit(*pair) for pair in zip(responses, answers, strict=True)]
        return [future.result() for future in futures]

    def submit(self, response: str, answer: str) -> Future[float]:
        """Return a future of one response's score; others may be submitted meanwhile."""
        return self._judge(response, answer, self.worked_out)

    @property
    def verifier(self) -> Reward | None:  # type: ignore[override]
        """The reward for validation: without `worked_out`, in the same processes."""
        return _Lenient(self) if self.worked_out else None

    def answer(self, response: str) -> str | None:
        """Return the final answer of a response, as it is written there."""
        return final_answer(response, self.last_number)

    def report(self) -> dict[str, float]:
        """Return how many responses had no answer, and how many checks no verdict, since the last report.

        Warn if more than `ALARMING` of the checks had none: the reward then says little.
        """
        counts, self._counts = self._counts, Counter()
        without = sum(counts[kind] for kind in NO_VERDICT)
        if without > ALARMING * counts["checked"]:
            said = ", ".join(f"{counts[kind]} {kind}" for kind in NO_VERDICT if counts[kind])
            log.warning(
                "%d of %d checks of answers had no verdict and score 0 (%s): raise reward.timeout, reward.memory_gib, "
                "or read what is answered (gmpo responses run=RUN)",
                without,
                counts["checked"],
                said,
            )
        return {name: float(counts[kind]) for kind, name in COUNTED.items()}

    def close(self) -> None:
        """End the processes; a later score starts them again."""
        self._checker.close()

    def __enter__(self) -> MathReward:
        self._checker.wait_until_ready()
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def _judge(self, response: str, answer: str, strictly: bool) -> Future[float]:
        found, score = self.answer(response), Future[float]()
        gold = last_boxed(answer) or answer
        if found is None or not gold.strip():
            self._counts["no answer"] += 1
            score.set_result(0.0)
        elif max(len(found), len(gold)) > LONGEST_ANSWER:
            score.set_result(float(found.strip() == gold.strip()))
        elif (same := compare_notation(*(pair := (parse_answer(found), parse_answer(gold))))) is not None:
            left = same and strictly and undivided(*pair)
            self._counts["not worked out"] += left
            score.set_result(float(same and not left))
        else:
            self._checked(found, gold).add_done_callback(partial(self._settle, score, strictly))
        return score

    def _checked(self, answer: str, gold: str) -> Future[str]:
        """Return a check of two answers, or the earlier one of the same two: a group repeats its answers."""
        check = self._known.pop((answer, gold), None)
        if check is None or (check.done() and (check.exception() or check.result() in NO_VERDICT)):
            check = self._checker.submit(answer, gold)
        self._known[answer, gold] = check
        if len(self._known) > REMEMBERED:
            self._known.popitem(last=False)
        return check

    def _settle(self, score: Future[float], strictly: bool, check: Future[str]) -> None:
        if error := check.exception():
            score.set_exception(error)
            return
        outcome = check.result()
        self._counts["checked"] += 1
        if outcome in NO_VERDICT or (strictly and outcome == "not worked out"):
            self._counts[outcome] += 1
        score.set_result(float(outcome == "right" or (not strictly and outcome in RIGHT)))


class _Lenient(Reward):
    """A MathReward for which an answer need not be worked out."""

    def __init__(self, reward: MathReward) -> None:
        self._reward = reward

    def score(self, responses: Sequence[str], answers: Sequence[str]) -> list[float]:
        futures = [self.submit(*pair) for pair in zip(responses, answers, strict=True)]
        return [future.result() for future in futures]

    def submit(self, response: str, answer: str) -> Future[float]:
        return self._reward._judge(response, answer, strictly=False)

    def answer(self, response: str) -> str | None:
        return self._reward.answer(response)


def cores() -> int:
    """Return how many cores this process may run on."""
    return len(os.sched_getaffinity(0)) if sys.platform == "linux" else os.cpu_count() or 1
