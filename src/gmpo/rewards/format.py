"""The reward for a response's format."""

from collections.abc import Sequence
from dataclasses import dataclass

from gmpo.rewards.reward import Instant


@dataclass(frozen=True)
class FormatReward(Instant):
    """1 where each marker occurs in the response exactly once, in this order, else 0.

    ends: the last marker also ends the response, blanks aside.
    """

    markers: Sequence[str]
    ends: bool = False

    def __post_init__(self) -> None:
        if isinstance(self.markers, str) or not self.markers or not all(self.markers):
            raise ValueError(
                f"reward.markers={self.markers!r} must be a list of texts, such as ['</think>', '<answer>']"
            )

    def score(self, responses: Sequence[str], answers: Sequence[str]) -> list[float]:
        """Return 1 or 0 for each response; the answers do not matter."""
        return [float(self._keeps_form(response)) for response in responses]

    def _keeps_form(self, response: str) -> bool:
        if any(response.count(marker) != 1 for marker in self.markers):
            return False
        places = [response.index(marker) for marker in self.markers]
        return places == sorted(places) and (not self.ends or response.rstrip().endswith(self.markers[-1]))
