"""What an objective is given."""

import torch
from jaxtyping import Float
from torch import Tensor

from gmpo.objectives import GMPO, PolicyLoss
from gmpo.objectives.objective import LossInputs, PerSequence
from gmpo.types import MicroBatch


class Keeps(PerSequence):
    """Keeps what it was given."""

    learns_from_zero_advantage = True

    def loss(self, inputs: LossInputs) -> Float[Tensor, ""]:
        self.inputs = inputs
        return inputs.log_ratio.sum() / inputs.denominator


def test_the_loss_hands_on_everything_there_is() -> None:
    objective, mask = Keeps(), torch.tensor([[True, True, False], [True, False, False]])
    old, reference, log_probs, entropy = torch.randn(4, 2, 3)
    batch = MicroBatch(torch.zeros(2, 3).long(), torch.tensor([2, 1]), mask, torch.ones(2), old, old, reference)
    loss = PolicyLoss(objective)
    value = loss(log_probs, entropy, batch, torch.tensor(4.0), progress=0.25)
    given = objective.inputs
    assert given.log_probs is log_probs
    assert given.ref_log_probs is reference
    assert given.entropy is entropy
    assert given.progress == 0.25
    assert given.lengths.tolist() == [2, 1]
    torch.testing.assert_close(value, (log_probs - old)[mask].sum() / 4)
    assert not objective.clipped(given.log_ratio, given.advantages, mask).high.any()


def test_an_objective_may_learn_from_advantage_0() -> None:
    assert PolicyLoss(Keeps()).learns_from_zero_advantage
    assert not PolicyLoss(GMPO()).learns_from_zero_advantage
