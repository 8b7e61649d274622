import pytest

from gmpo.rollout.engine import request_seed

PLACE = {"run_seed": 3, "purpose": "train", "rollout_step": 5, "prompt": 7, "response": 1}
RANGE = 2**31


def step_seeds(rollout_step: int) -> list[int]:
    """The seeds of 250 groups of 8."""
    return [request_seed(0, "train", rollout_step, prompt, response) for prompt in range(250) for response in range(8)]


def test_same_place_same_seed() -> None:
    assert request_seed(**PLACE) == request_seed(**PLACE)
    assert request_seed(0, "train", 0, 0, 0) == 37444049  # the same in every process and on every machine


@pytest.mark.parametrize(
    "change",
    [{"run_seed": 4}, {"purpose": "validation"}, {"rollout_step": 6}, {"prompt": 8}, {"response": 2}],
    ids=lambda change: next(iter(change)),
)
def test_every_argument_matters(change: dict) -> None:
    assert request_seed(**(PLACE | change)) != request_seed(**PLACE)


def test_neighbouring_fields_do_not_run_together() -> None:
    assert request_seed(0, "train", 1, 23, 4) != request_seed(0, "train", 12, 3, 4)
    assert request_seed(0, "train", 1, 2, 34) != request_seed(0, "train", 1, 23, 4)


def test_seeds_are_in_range_and_collide_no_more_than_chance() -> None:
    steps = [step_seeds(step) for step in range(50)]
    seeds = [seed for step in steps for seed in step]
    assert all(0 <= seed < RANGE for seed in seeds)
    assert len(seeds) - len(set(seeds)) <= 10  # chance makes 2.3 of 100 000; none at all needs more than 31 bits
    assert all(len(set(step)) == len(step) for step in steps)


def test_seeds_are_spread_widely() -> None:
    tenths = [seed * 10 // RANGE for step in range(5) for seed in step_seeds(step)]
    assert all(900 < tenths.count(tenth) < 1100 for tenth in range(10))
