"""Treatment of responses near and at the length limit (DAPO, arXiv:2503.14476)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:  # it imports torch, which processes that check answers do not need
    from gmpo.types import Response


@dataclass(frozen=True)
class Overlong:
    """Soft overlong punishment (eq. 13) and overlong filtering (section 3.4).

    max_tokens: the limit of a response. The penalty grows linearly from 0 to `factor` over the last `buffer`
    tokens before the limit. filter_truncated leaves truncated responses out of the loss; they stay in the baseline.
    """

    max_tokens: int
    buffer: int = 0  # tokens; 0: no penalty
    factor: float = 1.0
    filter_truncated: bool = False

    def __post_init__(self) -> None:
        if not 0 <= self.buffer <= self.max_tokens:
            raise ValueError(
                f"overlong.buffer={self.buffer} must be between 0 (off) and the limit, "
                f"sampling.max_tokens={self.max_tokens}"
            )
        if not self.factor >= 0:
            raise ValueError(f"overlong.factor={self.factor} is taken off the reward and must be at least 0")

    def penalty(self, response: Response) -> float:
        """Return the amount taken off the reward, in [0, factor]."""
        into_buffer = len(response.token_ids) - (self.max_tokens - self.buffer)
        return self.factor * into_buffer / self.buffer if self.buffer and into_buffer > 0 else 0.0

    def in_loss(self, response: Response) -> bool:
        """Return whether the response is trained on."""
        return not (self.filter_truncated and response.truncated)
