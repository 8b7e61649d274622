"""Metrics over several responses to each problem."""

from collections import Counter
from collections.abc import Sequence
from math import comb

import torch
from torch import Tensor
from torchmetrics import Metric

from gmpo.types import Group


def pass_at_k(correct: int, total: int, k: int) -> float:
    """Return the probability that at least one of k responses is right, without bias (arXiv:2107.03374, eq. 1).

    correct of total responses to a problem were right; k must be between 1 and total.
    """
    if not 0 <= correct <= total:
        raise ValueError(f"correct={correct} must lie between 0 and total={total}")
    if not 1 <= k <= total:
        raise ValueError(f"k={k} must lie between 1 and total={total}: sample at least k responses to each problem")
    return 1.0 - comb(total - correct, k) / comb(total, k)


def maj_at_k(correct: Sequence[bool], answers: Sequence[str]) -> float:
    """Return whether the most frequent answer of k responses is right (arXiv:2203.11171); a tie counts its share.

    answers: in one notation; an empty one does not vote. Right answers vote together, however they are written.
    """
    wrong = Counter(answer for right, answer in zip(correct, answers, strict=True) if answer and not right)
    votes = [sum(correct), *wrong.values()]
    return float(votes[0] == max(votes) > 0) / votes.count(max(votes))


class ProblemMetrics(Metric):
    """mean@n, pass@k and maj@n over problems with n responses each, truncated fraction and mean length in tokens.

    For a single response all three are equal: only mean@1 is computed then, and pass@1 where k contains 1.
    samples: n. k: the k of pass@k; n > 1 is always added. solved_at: the reward that counts as correct.
    """

    full_state_update = False

    def __init__(self, samples: int, k: Sequence[int] = (), solved_at: float = 1.0) -> None:
        super().__init__()
        self.samples = samples
        self.k = sorted({*k, samples} if samples > 1 else set(k))
        self.solved_at = solved_at
        unfit = [each for each in self.k if not 1 <= each <= samples]
        if unfit:
            raise ValueError(
                f"pass@k for k={unfit}: k must lie between 1 and the {samples} responses to each problem; sample more"
            )
        self.names = [f"mean@{samples}", *(f"pass@{each}" for each in self.k)]
        self.names += [f"maj@{samples}"] * (samples > 1)
        self.names += ["truncated_fraction", "response_length"]
        self.add_state("totals", torch.zeros(len(self.names), dtype=torch.float64), dist_reduce_fx="sum")
        self.add_state("problems", torch.zeros((), dtype=torch.float64), dist_reduce_fx="sum")
        self.add_state("unread", torch.zeros((), dtype=torch.float64), dist_reduce_fx="sum")
        self.totals: Tensor
        self.problems: Tensor
        self.unread: Tensor

    def update(
        self,
        rewards: Sequence[float],
        answers: Sequence[str | None],
        lengths: Sequence[int],
        truncated: Sequence[bool],
    ) -> None:
        """Add the responses to one problem. answers: in one notation; None where the reward parses none."""
        read = [answer for answer in answers if answer is not None]
        if len(rewards) != self.samples:
            raise ValueError(f"{len(rewards)} responses to a problem, expected {self.samples}")
        correct = [reward >= self.solved_at for reward in rewards]
        values = [sum(rewards), *(self.samples * pass_at_k(sum(correct), self.samples, k) for k in self.k)]
        if self.samples > 1:
            values.append(self.samples * maj_at_k(correct, read) if len(read) == len(answers) else 0.0)
        values += [sum(truncated), sum(lengths)]
        self.totals += torch.tensor(values, dtype=torch.float64, device=self.totals.device) / self.samples
        self.problems += 1
        self.unread += len(read) < len(answers)

    def compute(self) -> dict[str, float]:
        """Return the metrics by name; maj@n only where the reward parses answers."""
        means = dict(zip(self.names, (self.totals / self.problems).tolist(), strict=True))
        return {name: value for name, value in means.items() if not (self.unread and name.startswith("maj@"))}


def count_group(metrics: ProblemMetrics, group: Group) -> None:
    """Update the metrics with the responses to one prompt."""
    rollouts = group.rollouts
    metrics.update(
        rewards=[rollout.reward for rollout in rollouts],
        answers=[rollout.final_answer for rollout in rollouts],
        lengths=[len(rollout.response.token_ids) for rollout in rollouts],
        truncated=[rollout.response.truncated for rollout in rollouts],
    )
