"""Which rank trains what."""

from dataclasses import replace
from itertools import chain

import pytest
from small_training import groups

from gmpo.batching import BatchingConfig, Cost, Entry, assign, entries_of, in_order, split_without_gradient

CONFIG = BatchingConfig(4, 60, 60, Cost(), packed=False, skip_zero_advantage=True)


def gathered(ranks: int) -> list[list[list[Entry]]]:
    """As if each rank held every so-many-th group of a batch of 8."""
    return [entries_of(groups(8)[rank::ranks], rank, skip_zero_advantage=True) for rank in range(ranks)]


def keys(groups_of_entries: list[list[Entry]], ranks: int) -> list[list[tuple[int, int]]]:
    """Each group's entries by the number of their group in the batch and their own."""
    return [[(e.owner + ranks * (e.place // 3), e.place % 3) for e in group] for group in groups_of_entries]


@pytest.mark.parametrize("ranks", [1, 2, 3, 8])
def test_the_order_of_the_batch_does_not_depend_on_who_holds_it(ranks: int) -> None:
    in_batch = [[(group, number) for number in range(3)] for group in range(8)]
    assert keys(in_order(gathered(ranks)), ranks) == in_batch


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("data_parallel", [1, 2, 4])
def test_every_sequence_of_a_mini_batch_is_trained_once(data_parallel: int, packed: bool) -> None:
    config = BatchingConfig(4, 60, 60, Cost(1.0, 0.01), packed, skip_zero_advantage=True)
    order = in_order(gathered(2))
    plan = assign(order, data_parallel, config)
    assert len(plan.micro_batches) == len(plan.zero_advantage) == 2
    for number, (cuts, zero_advantage) in enumerate(zip(plan.micro_batches, plan.zero_advantage, strict=True)):
        assert len(cuts) == len(zero_advantage) == data_parallel
        assert len({len(own) for own in cuts}) == 1, "as many micro-batches on every rank"
        entries = list(chain.from_iterable(order[4 * number : 4 * number + 4]))
        active = [e for own in cuts for micro in own for e in micro]
        assert sorted(active, key=repr) == sorted((e for e in entries if not e.zero_advantage), key=repr)
        assert sorted(chain(*zero_advantage), key=repr) == sorted((e for e in entries if e.zero_advantage), key=repr)
        assert max(map(len, zero_advantage)) - min(map(len, zero_advantage)) <= 1
    everything = chain.from_iterable(plan.of_rank(rank) for rank in range(data_parallel))
    assert sorted(everything, key=repr) == sorted(chain.from_iterable(order), key=repr)
    assert plan.imbalance >= 1
    assert (plan.padding_share == 0) == packed


def test_what_is_left_out_of_the_loss_is_in_no_plan_unless_everything_is_wanted() -> None:
    made = groups(4)
    for rollout in made[0].rollouts:
        rollout.in_loss = False
    plan = assign(entries_of(made, 0, True), 1, CONFIG)
    assert len(plan.of_rank(0)) == 9
    assert len(assign(entries_of(made, 0, True, everything=True), 1, CONFIG).of_rank(0)) == 12


def test_a_mini_batch_of_nothing_has_no_micro_batches() -> None:
    made = groups(4)
    for group in made:
        for rollout in group.rollouts:
            rollout.in_loss = False
    plan = assign(entries_of(made, 0, True), 2, CONFIG)
    assert plan.micro_batches == [[[], []]]
    assert (plan.padding_share, plan.imbalance) == (0.0, 1.0)
    assert split_without_gradient([plan.of_rank(0), plan.of_rank(1)], CONFIG) == [[], []]


def test_ranks_with_less_are_filled_up_with_nothing() -> None:
    entries = [entry for group in entries_of(groups(8), 0, True) for entry in group]
    many, few = split_without_gradient([entries, entries[:1]], CONFIG)
    assert len(many) == len(few) > 1
    assert [len(cut) for cut in few] == [1] + [0] * (len(few) - 1)
    assert sorted(chain(*many), key=repr) == sorted(entries, key=repr)


def test_passes_without_a_gradient_have_a_budget_of_their_own() -> None:
    of_groups = entries_of(groups(8), 0, True)
    entries = [entry for group in of_groups for entry in group]
    wide = replace(CONFIG, max_tokens_without_gradient=10_000)
    assert len(split_without_gradient([entries], wide)[0]) < len(split_without_gradient([entries], CONFIG)[0])
    assert assign(of_groups, 1, wide) == assign(of_groups, 1, CONFIG)
