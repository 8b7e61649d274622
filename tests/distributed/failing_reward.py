"""A reward that fails on one rank."""

import os
from collections.abc import Sequence


class FailsOnRank1:
    """Raises where LOCAL_RANK is 1."""

    def score(self, responses: Sequence[str], answers: Sequence[str]) -> list[float]:
        if os.environ.get("LOCAL_RANK") == "1":
            raise RuntimeError("the reward of rank 1 is out of order")
        return [float(i % 2) for i in range(len(responses))]
