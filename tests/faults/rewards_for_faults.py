"""Rewards that draw random numbers, raise, hang or eat memory."""

import random
import time
from collections.abc import Sequence

from gmpo.rewards import Instant, Reward


class EarlyDigitOrLuck:
    """Whether a digit comes early, and now and then luck, from the process's own random numbers."""

    def score(self, responses: Sequence[str], answers: Sequence[str]) -> list[float]:
        return [float(any(c.isdigit() for c in response[:2]) or random.random() < 0.2) for response in responses]


class Raises(Reward):
    """On responses with an odd number of digits."""

    def score(self, responses: Sequence[str], answers: Sequence[str]) -> list[float]:
        return [_score(response) for response in responses]


class RaisesAtOnce(Instant):
    """The same while other responses are still generated."""

    score = Raises.score


def _score(response: str) -> float:
    if sum(c.isdigit() for c in response) % 2:
        raise ArithmeticError("an odd number of digits")
    return float(len(response) % 2)


class Hangs:
    """On some responses, for ever."""

    def score(self, responses: Sequence[str], answers: Sequence[str]) -> list[float]:
        while any(response.startswith("hang") for response in responses):
            time.sleep(1)
        return [1.0] * len(responses)


class Eats:
    """Memory, on some responses, without end."""

    def score(self, responses: Sequence[str], answers: Sequence[str]) -> list[float]:
        eaten = []
        while any(response.startswith("eat") for response in responses):
            eaten.append(bytearray(1 << 24))
        return [1.0] * len(responses)
