"""Metrics of a rollout step's responses, and a check that they carry a signal."""

import logging

from gmpo.metrics.rollout import GroupFacts, facts_of, mean_of_reports, rollout_metrics
from gmpo.parallel.collectives import gather_lists
from gmpo.rewards import Reward, report_of
from gmpo.rollout import Refilled
from gmpo.rollout.collector import Collected
from gmpo.run.state import RunState

log = logging.getLogger(__name__)

Report = tuple[int, dict[str, float]]  # number of responses, and the reward's metrics of them


class RolloutReport:
    """The groups of one rollout step over all ranks, and their metrics.

    max_refills: of dynamic sampling; 0: off.
    """

    def __init__(self, state: RunState, max_refills: int) -> None:
        self.state = state
        self.max_refills = max_refills
        self.kept: list[GroupFacts] = []
        self.discarded: list[GroupFacts] = []
        self.reports: list[Report] = []
        self.refills = 0
        self.prefetch: dict[str, float] = {}

    def gather(self, first: Collected, refilled: Refilled, samples: int, reward: Reward) -> None:
        """Gather facts of the groups of all ranks, and the reward's reports; collective.

        samples: responses to each prompt.
        """
        made = (len(refilled.groups) + len(refilled.discarded)) * samples
        local: list[Report] = []
        if first.report is not None:  # of prefetched groups, taken before this step's refills
            local.append((len(first.groups) * samples, first.report))
        with self.state.clock("exchange"):  # ranks wait here for the slowest generation
            self.kept, self.discarded = (
                gather_lists(facts_of(refilled.groups)),
                gather_lists(facts_of(refilled.discarded)),
            )
            self.reports = gather_lists([*local, (made - sum(count for count, _ in local), report_of(reward))])
        self.refills, self.prefetch = refilled.refills, first.metrics

    def lengths(self) -> list[tuple[tuple[str, int], list[int]]]:
        """Return the response lengths of each group, in tokens, with its prompt."""
        return [(group.prompt, [r.tokens for r in group.rollouts]) for group in self.kept + self.discarded]

    def check_signal(self, learns_without_rewards: bool) -> None:
        """Warn of groups without a signal; stop the run if dynamic sampling found nothing to learn from."""
        step = self.state.rollout_step
        lacking = self._lacking()
        nothing = lacking == len(self.kept) and not learns_without_rewards
        if nothing and self.max_refills:
            made = self.kept + self.discarded
            mean = rollout_metrics(made)["reward/mean"]
            self.state.stop(
                f"rollout step {step} found no signal in {len(made)} groups: the rewards of each are equal (their "
                f"mean is {mean:.3f}), or all of its responses are left out of the loss. The problems "
                "are too hard or too easy, or the reward cannot tell responses apart: read rollouts/train.jsonl in "
                "the run folder, then choose other data or raise batch.group_size"
            )
        elif nothing:
            log.warning("step %d: no group carries a signal, nothing is learned", step)
        elif self.max_refills and lacking:
            log.warning(
                "step %d: %d refills leave %d of %d groups with zero advantage",
                *(step, self.refills, lacking, len(self.kept)),
            )

    def metrics(self) -> dict[str, float]:
        """Return the step's metrics; discarded groups count as well."""
        found = self.prefetch | rollout_metrics(self.kept + self.discarded)
        found |= {f"reward/{name}": value for name, value in mean_of_reports(self.reports).items()}
        if self.max_refills:
            found |= {
                "rollout/refills": float(self.refills),
                "rollout/refilled_groups": float(len(self.discarded)),
                "rollout/unfilled_groups": float(self._lacking()),
            }
        return found

    def _lacking(self) -> int:
        return sum(group.zero_advantage for group in self.kept)
