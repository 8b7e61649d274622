"""The check of shapes that conftest.py installs sees what it should."""

import pytest
import torch
from jaxtyping import TypeCheckError

from gmpo.advantages import GroupNorm
from gmpo.objectives import GMPO
from gmpo.types import MicroBatch

VALUES, MASK = torch.zeros(2, 3), torch.ones(2, 3, dtype=torch.bool)
ONE = torch.ones(())


@pytest.mark.parametrize(
    ("advantages", "mask"),
    [(torch.zeros(3), MASK), (torch.zeros(2), MASK[:, :2]), (torch.zeros(2), MASK.float())],
    ids=["one advantage too many", "a column too few", "a mask of floats"],
)
def test_a_wrong_shape_or_type_is_seen(advantages: torch.Tensor, mask: torch.Tensor) -> None:
    GMPO()(VALUES, VALUES, torch.zeros(2), MASK, ONE)
    with pytest.raises(TypeCheckError, match="parameter"):
        GMPO()(VALUES, VALUES, advantages, mask, ONE)


def test_in_the_fields_of_a_batch_and_in_advantages_too() -> None:
    ids, lengths = torch.zeros(2, 5, dtype=torch.long), torch.tensor([5, 5])
    MicroBatch(ids, lengths, MASK, torch.zeros(2), VALUES)
    with pytest.raises(TypeCheckError, match="rollout_log_probs"):
        MicroBatch(ids, lengths, MASK, torch.zeros(2), VALUES[:, :2])
    with pytest.raises(TypeCheckError, match="group_ids"):
        GroupNorm()(torch.zeros(4), torch.zeros(3, dtype=torch.long))
