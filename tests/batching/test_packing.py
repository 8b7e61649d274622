import pytest
import torch
from conftest import make_prompt

from gmpo.batching import micro_batch_indices, pad_sequences
from gmpo.types import Response, Rollout

LENGTHS = [5, 17, 3, 3, 40, 8, 12, 17, 1]


@pytest.mark.parametrize("budget", [40, 41, 64, 100, 10_000])
def test_every_sequence_once_within_the_budget(budget: int) -> None:
    batches = micro_batch_indices(LENGTHS, budget)
    assert sorted(index for batch in batches for index in batch) == list(range(len(LENGTHS)))
    for batch in batches:
        assert len(batch) * max(LENGTHS[i] for i in batch) <= budget


def test_lengths_in_a_micro_batch_are_similar() -> None:
    sizes = [[LENGTHS[i] for i in batch] for batch in micro_batch_indices(LENGTHS, 40)]
    assert [length for size in sizes for length in size] == sorted(LENGTHS)


def test_a_sequence_over_the_budget_is_refused_by_its_key() -> None:
    with pytest.raises(ValueError, match=r"40 tokens.*max_tokens_per_micro_batch=39"):
        micro_batch_indices(LENGTHS, 39)


def test_padding_keeps_every_token_in_place() -> None:
    prompts = [make_prompt("1+1"), make_prompt("what is 2+2")]
    responses = [
        Response([9, 8, 1], [-0.1, -0.2, -0.3], "", False),
        Response([7, 1], [-0.4, -0.5], "", False),
    ]
    rollouts = [Rollout(response, 1.0, advantage) for response, advantage in zip(responses, (0.5, -0.5), strict=True)]
    batch = pad_sequences(list(zip(prompts, rollouts, strict=True)), pad_token_id=0)
    columns = batch.mask.shape[1]
    for row, (prompt, rollout) in enumerate(zip(prompts, rollouts, strict=True)):
        ids = prompt.token_ids + rollout.response.token_ids
        assert batch.token_ids[row, : len(ids)].tolist() == ids
        assert (batch.token_ids[row, len(ids) :] == 0).all()
        assert batch.token_ids[row, -columns:][batch.mask[row]].tolist() == rollout.response.token_ids
        torch.testing.assert_close(
            batch.rollout_log_probs[row][batch.mask[row]], torch.tensor(rollout.response.log_probs)
        )
    assert batch.advantages.tolist() == [0.5, -0.5]
    assert columns == batch.token_ids.shape[1] - len(prompts[0].token_ids)  # nothing before the first response token
