import torch
from conftest import make_prompt

from gmpo.batching import pad_sequences
from gmpo.types import Response, Rollout


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
        ids = [*prompt.token_ids, *rollout.response.token_ids]
        assert batch.token_ids[row, : len(ids)].tolist() == ids
        assert (batch.token_ids[row, len(ids) :] == 0).all()
        assert batch.token_ids[row, -columns:][batch.mask[row]].tolist() == list(rollout.response.token_ids)
        torch.testing.assert_close(
            batch.rollout_log_probs[row][batch.mask[row]], torch.tensor(rollout.response.log_probs)
        )
    assert batch.advantages.tolist() == [0.5, -0.5]
    assert columns == batch.token_ids.shape[1] - len(prompts[0].token_ids)  # nothing before the first response token


def test_a_micro_batch_of_nothing_counts_for_nothing() -> None:
    batch = pad_sequences([], pad_token_id=0)
    assert batch.token_ids.numel() > 0, "the model has something to read"
    assert not batch.mask.any()
    assert batch.old_log_probs is not None
    assert batch.old_log_probs.shape == batch.mask.shape
