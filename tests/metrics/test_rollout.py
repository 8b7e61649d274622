"""What is logged of responses."""

from conftest import make_prompt

from gmpo.metrics.rollout import facts_of, mean_of_reports, rollout_metrics
from gmpo.types import Group, Response, Rollout


def test_metrics_of_a_step() -> None:
    def group(*rewards: float) -> Group:
        made = [Rollout(Response([5] * (i + 1), [0.0] * (i + 1), "", i == 0), r) for i, r in enumerate(rewards)]
        return Group(make_prompt("1+1"), made)

    metrics = rollout_metrics(facts_of([group(1, 1), group(0, 1), group(0, 0), group(1, 1)]))
    assert metrics["reward/mean"] == 0.625
    assert metrics["rollout/response_length"] == 1.5
    assert metrics["rollout/truncated_fraction"] == 0.5
    assert metrics["rollout/zero_advantage_groups"] == 0.75


def test_reports_of_ranks_weigh_by_what_each_scored() -> None:
    reports = [(6, {"right": 0.5, "format": 1.0}), (2, {"right": 1.0}), (0, {}), (0, {"format": 9.0})]
    assert mean_of_reports(reports) == {"right": 0.625, "format": 1.0}
