import pytest
import torch
from conftest import make_prompt
from torch import Tensor, nn
from transformers import AutoModelForCausalLM, MistralConfig

from gmpo.batching import pad_sequences
from gmpo.models.log_prob_head import LogProbHead
from gmpo.models.log_probs import response_log_probs
from gmpo.models.pretrained import Pretrained
from gmpo.parallel.context_parallel import attention_name, flash_kwargs, varlen_attention
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
        ids = torch.tensor([[*prompt.token_ids, *rollout.response.token_ids]])
        alone = (model(input_ids=ids).logits[0, :-1] / temperature).softmax(-1)
        start = len(prompt.token_ids)
        probabilities = alone[start - 1 :]
        expected = probabilities.gather(-1, ids[0, start:, None]).squeeze(-1).log()
        torch.testing.assert_close(log_probs[row][batch.mask[row]], expected, rtol=0, atol=1e-10)
        plain_entropy = -(probabilities * probabilities.log()).sum(-1)
        torch.testing.assert_close(entropy[row][batch.mask[row]], plain_entropy, rtol=0, atol=1e-10)


@pytest.mark.parametrize("folder", ["qwen2_folder", "qwen3_moe_folder"])
def test_packed_sequences_do_not_see_each_other(folder: str, request: pytest.FixtureRequest) -> None:
    settings = {"dtype": torch.float64, "attn_implementation": attention_name("varlen", None)}
    padded, packed = (
        AutoModelForCausalLM.from_pretrained(request.getfixturevalue(folder), **own)
        for own in ({"dtype": torch.float64}, settings)
    )
    batch = pad_sequences(sequences(), pad_token_id=0)
    found = []
    for model, together in ((padded, False), (packed, True)):
        model.set_experts_implementation("eager")
        log_probs, entropy = response_log_probs(model, batch, 0.7, with_entropy=True, packed=together)
        assert entropy is not None
        gradient = torch.autograd.grad((log_probs * batch.mask).square().sum(), model.parameters())
        found.append((log_probs[batch.mask], entropy[batch.mask], gradient))
    torch.testing.assert_close(found[1], found[0], rtol=0, atol=1e-10)


def test_a_pack_of_nothing_still_goes_through_the_model(qwen2_folder: str) -> None:
    source = {"dtype": torch.float64, "attn_implementation": attention_name("varlen", None)}
    model = AutoModelForCausalLM.from_pretrained(qwen2_folder, **source)
    log_probs, _ = response_log_probs(model, pad_sequences([], pad_token_id=0), 1.0, packed=True)
    log_probs.sum().backward()
    assert all(p.grad is not None and not p.grad.any() for p in model.parameters())


@pytest.mark.parametrize(("attention", "cp"), [("varlen", 1), ("sdpa", 2)])
def test_an_attention_that_knows_no_window_refuses_a_model_with_one(attention: str, cp: int) -> None:
    windowed = MistralConfig(sliding_window=128)
    pretrained = Pretrained("a/model", attention=attention)
    with pytest.raises(ValueError, match=rf"a/model attends to a sliding window of 128.*{attention}.*cluster.cp={cp}"):
        pretrained.refuse_what_cannot_be(windowed, cp)
    pretrained.refuse_what_cannot_be(MistralConfig(sliding_window=None), cp)
    Pretrained("a/model", attention="sdpa").refuse_what_cannot_be(windowed, 1)


def test_an_unknown_attention_is_refused() -> None:
    with pytest.raises(ValueError, match=r"model.attention=flash must be one of sdpa, varlen, flash_attention_2"):
        attention_name("flash", None)


@pytest.mark.parametrize("folder", ["qwen2_folder", "qwen3_folder"])
def test_tiles_of_logits_change_nothing(folder: str, request: pytest.FixtureRequest) -> None:
    model = AutoModelForCausalLM.from_pretrained(request.getfixturevalue(folder), dtype=torch.float64)
    batch = pad_sequences(sequences(), pad_token_id=0)
    found = []
    for at_once in (None, 100, 4000):
        log_probs, entropy = response_log_probs(model, batch, 0.7, with_entropy=True, max_logits_per_chunk=at_once)
        assert entropy is not None
        loss = (log_probs * batch.mask).square().sum() + (entropy * batch.mask).sum()
        found.append((log_probs, entropy, torch.autograd.grad(loss, model.parameters())))
    for values in found[1:]:
        torch.testing.assert_close(values, found[0], rtol=0, atol=1e-12)
    assert model(input_ids=batch.token_ids).logits.shape[-1] == 260, "the head is as it was"


class Doubled(nn.Linear):
    def forward(self, hidden: Tensor) -> Tensor:
        return 2 * super().forward(hidden)


@pytest.mark.parametrize("head", [Doubled(64, 260, bias=False), nn.Sequential(nn.Linear(64, 260))])
def test_a_head_that_is_not_plain_is_refused(qwen3_folder: str, head: nn.Module) -> None:
    model = AutoModelForCausalLM.from_pretrained(qwen3_folder)
    model.set_output_embeddings(head)
    with pytest.raises(ValueError, match=rf"the head of Qwen3ForCausalLM is a {type(head).__name__}, and log-probs"):
        response_log_probs(model, pad_sequences(sequences(), pad_token_id=0), 1.0)


def test_a_head_with_a_bias(qwen3_folder: str) -> None:
    model = AutoModelForCausalLM.from_pretrained(qwen3_folder, dtype=torch.float64)
    model.lm_head.bias = nn.Parameter(torch.linspace(-2, 2, 260, dtype=torch.float64))
    ids = torch.arange(4, 24).view(1, 20)
    with LogProbHead(1.0, False, 100).in_place_of_logits(model, ids):
        found = model(input_ids=ids).logits.squeeze(-1)
    expected = model(input_ids=ids).logits.log_softmax(-1).gather(-1, ids.unsqueeze(-1)).squeeze(-1)
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-10)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU")
def test_the_gpu_kernel_for_variable_lengths_is_what_the_cpu_computes() -> None:
    torch.manual_seed(0)
    lengths = torch.tensor([5, 130, 1, 64])
    query, key, value = (torch.randn(1, heads, 200, 64, dtype=torch.bfloat16) for heads in (4, 2, 2))
    expected, _ = varlen_attention(nn.Module(), query, key, value, None, **flash_kwargs(lengths))
    on_gpu = [tensor.cuda() for tensor in (query, key, value)]
    found, _ = varlen_attention(nn.Module(), *on_gpu, None, **flash_kwargs(lengths.cuda()))
    torch.testing.assert_close(found.cpu(), expected, rtol=0, atol=2e-2)
