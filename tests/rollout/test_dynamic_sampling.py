from collections.abc import Iterator

from conftest import make_prompt

from gmpo.rollout import DynamicSampling
from gmpo.types import Group, Response, Rollout


def group(index: int, *rewards: float) -> Group:
    return Group(make_prompt("1+1", index), [Rollout(Response([5], [0.0], "", False), r) for r in rewards])


def test_groups_of_equal_rewards_give_their_places_to_fresh_ones() -> None:
    asked: list[int] = []
    coming: Iterator[Group] = iter([group(10, 0, 0), group(11, 1, 0), group(12, 0, 1)])

    def fresh(owners: list[int]) -> list[Group]:
        asked.append(len(owners))
        return [next(coming) for _ in owners]

    first = [group(0, 1, 1), group(1, 0, 1), group(2, 0, 0)]
    batch = DynamicSampling(max_refills=5).refill(first, fresh)
    assert [g.prompt.index for g in batch.groups] == [12, 1, 11]
    assert [g.prompt.index for g in batch.discarded] == [0, 2, 10]
    assert asked == [2, 1]
    assert (batch.refills, batch.zero_advantage_places()) == (2, [])
    assert [g.prompt.index for g in first] == [0, 1, 2]


def test_it_ends_where_no_group_ever_has_a_signal() -> None:
    batch = DynamicSampling(max_refills=3).refill([group(0, 1, 1)] * 2, lambda owners: [group(1, 0, 0)] * len(owners))
    assert (batch.refills, batch.zero_advantage_places(), len(batch.discarded)) == (3, [0, 1], 6)


def test_ranks_refill_together_in_the_order_of_the_batch() -> None:
    """The second of two ranks: a round is made where any rank lacks a signal, and holes are filled place by place."""
    others, asked = iter([[0, 1], [1], []]), []

    def fresh(owners: list[int]) -> list[Group]:
        asked.append(owners)
        return [group(7, 0, 1) for owner in owners if owner == 1]

    first = [group(0, 0, 1), group(1, 1, 1)]
    batch = DynamicSampling(max_refills=5).refill(first, fresh, lambda own: [next(others), own], rank=1)
    assert asked == [[0, 0, 1], [0]]
    assert [g.prompt.index for g in batch.groups] == [0, 7]
    assert (batch.refills, len(batch.discarded)) == (2, 1)


def test_off_it_draws_nothing() -> None:
    def fresh(owners: list[int]) -> list[Group]:
        raise AssertionError(owners)

    assert DynamicSampling().refill([group(0, 1, 1)], fresh).refills == 0
    assert DynamicSampling(max_refills=9).refill([group(0, 1, 0)], fresh).refills == 0


def test_what_a_signal_is() -> None:
    equal = group(0, 1, 1)
    equal.rollouts[0].kl_penalty = 0.25
    assert equal.zero_advantage
    equal.rollouts[0].penalty = 0.25
    assert not equal.zero_advantage
    equal.rollouts[0].in_loss = False
    assert not equal.zero_advantage
    equal.rollouts[1].in_loss = False
    assert equal.zero_advantage
