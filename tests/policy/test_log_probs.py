import pytest
import torch
from conftest import make_prompt
from transformers import AutoModelForCausalLM

from gmpo.batching import pad_sequences
from gmpo.policy.log_probs import response_log_probs, token_log_probs
from gmpo.types import Prompt, Response, Rollout


def sequences() -> list[tuple[Prompt, Rollout]]:
    generator = torch.Generator().manual_seed(0)
    made = []
    for question, length in (("1+1", 9), ("what is 12+34", 3), ("2", 1), ("99 minus 1", 20)):
        ids = torch.randint(4, 260, (length,), generator=generator).tolist()
        made.append((make_prompt(question), Rollout(Response(ids, [0.0] * length, "", False), 1.0)))
    return made


@pytest.mark.parametrize("temperature", [1.0, 0.7])
@pytest.mark.parametrize("folder", ["qwen2_folder", "qwen3_moe_folder"])
def test_padded_sequences_get_the_log_probs_they_have_alone(
    folder: str, temperature: float, request: pytest.FixtureRequest
) -> None:
    model = AutoModelForCausalLM.from_pretrained(request.getfixturevalue(folder), dtype=torch.float64)
    model.set_experts_implementation("eager")  # the grouped product has no float64
    batch = pad_sequences(sequences(), pad_token_id=0)
    log_probs, entropy = response_log_probs(model, batch, temperature, with_entropy=True)
    assert entropy is not None
    for row, (prompt, rollout) in enumerate(sequences()):
        ids = torch.tensor([prompt.token_ids + rollout.response.token_ids])
        alone = (model(input_ids=ids).logits[0, :-1] / temperature).softmax(-1)
        start = len(prompt.token_ids)
        probabilities = alone[start - 1 :]
        expected = probabilities.gather(-1, ids[0, start:, None]).squeeze(-1).log()
        torch.testing.assert_close(log_probs[row][batch.mask[row]], expected, rtol=0, atol=1e-10)
        plain_entropy = -(probabilities * probabilities.log()).sum(-1)
        torch.testing.assert_close(entropy[row][batch.mask[row]], plain_entropy, rtol=0, atol=1e-10)


def test_half_precision_logits_are_normalised_in_float32() -> None:
    logits = torch.randn(2, 3, 50, dtype=torch.bfloat16)
    log_probs, _ = token_log_probs(logits, torch.zeros(2, 3, dtype=torch.long), 1.0)
    assert log_probs.dtype == torch.float32
    torch.testing.assert_close(log_probs, logits.float().log_softmax(-1)[..., 0])
