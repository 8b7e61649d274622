"""Define the work of both sides of a comparison, and their turns; standard library only, for any environment."""

import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from multiprocessing.connection import Connection

PROMPTS = 64  # of a rollout step
GROUP_SIZE = 8  # responses to each
MINI_BATCH_PROMPTS = 16  # of one optimizer step: four in a rollout step
MAX_PROMPT_TOKENS = 32
MAX_TOKENS = 32  # of a response
LEARNING_RATE = 1e-6  # so small that responses keep their lengths
GRADIENT_CLIP = 1.0
THREADS = {"1m": 1, "10m": 2}  # by the size of the model

ALL, HALF = "all", "half"  # which groups carry a signal


@dataclass
class Alternating:
    """0 and 1 in turn for the responses to each prompt; silent, always 0 for every other prompt.

    An answer is the number of its prompt. So each group carries a signal, or exactly half of them do, whatever the
    responses are.
    """

    silent: bool = False
    seen: Counter[str] = field(default_factory=Counter)

    def score(self, responses: Sequence[str], answers: Sequence[str]) -> list[float]:
        """Score as a `Reward`."""
        return [self._score(answer) for _, answer in zip(responses, answers, strict=True)]

    def _score(self, answer: str) -> float:
        self.seen[answer] += 1
        return 0.0 if self.silent and int(answer) % 2 else float(self.seen[answer] % 2)


class Turns:
    """Rollout steps made one at a time, whenever the process at the other end asks.

    descriptor: of a socket to it. A step's time ends where the next one could begin: what is logged after it is part of
    it.
    """

    def __init__(self, descriptor: str) -> None:
        self.other_end = Connection(int(descriptor))
        self._began: float | None = None

    def take(self, report: dict[str, object]) -> str | None:
        """Report the step that was made, if any, and wait; return what the next one is to be, None: no more."""
        seconds = None if self._began is None else time.perf_counter() - self._began
        self.other_end.send({"seconds": seconds, **report})
        wanted: str | None = self.other_end.recv()
        self._began = time.perf_counter()
        return wanted
