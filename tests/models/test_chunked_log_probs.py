"""Log-probs and entropies from hidden states and weight, against the plain log-softmax of whole logits."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from conftest import ENVIRONMENT, ROOT
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.checkpoint import checkpoint

from gmpo.models.chunk_size import MIN_VOCAB, ON_CPU
from gmpo.models.chunked_log_probs import linear_log_probs
from gmpo.models.chunks import Chunks

N, D, V = 37, 16, 2503  # a prime: no chunk divides it
AT_ONCE = [400, 701, 5000, 40_000, 10**6, None]  # vocab of one token; of four; of all; all vocab
Case = tuple[Tensor, Tensor, Tensor, Tensor]


def case(dtype: torch.dtype = torch.float64, tokens: int = N, vocab: int = V) -> Case:
    """Logits far from uniform, the first and the last word among the targets."""
    generator = torch.Generator().manual_seed(0)
    hidden, weight, bias = (
        torch.randn(*shape, generator=generator, dtype=torch.float64) for shape in ((tokens, D), (vocab, D), (vocab,))
    )
    token_ids = torch.randint(vocab, (tokens,), generator=generator)
    token_ids[: min(tokens, 2)] = torch.tensor([0, vocab - 1])[:tokens]
    return *(tensor.to(dtype).requires_grad_() for tensor in (hidden, weight, bias)), token_ids


def plain(hidden: Tensor, weight: Tensor, bias: Tensor | None, token_ids: Tensor, temperature: float) -> Tensor:
    """Log-probs and entropies, [2, N]."""
    log_softmax = (torch.nn.functional.linear(hidden, weight, bias) / temperature).log_softmax(-1)
    log_probs = log_softmax.gather(-1, token_ids.unsqueeze(-1)).squeeze(-1)
    return torch.stack([log_probs, -(log_softmax.exp() * log_softmax).sum(-1)])


def chunked(*arguments: object) -> Tensor:
    values = linear_log_probs(*arguments[:5], True, *arguments[5:])  # type: ignore[arg-type]
    assert values[1] is not None
    return torch.stack([values[0], values[1]])


def with_gradients(values: Tensor, inputs: tuple[Tensor, ...], of_entropy: bool = True) -> list[Tensor]:
    """The values, and the gradients where each token has weights of its own."""
    outer = torch.randn(values.shape, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    outer = outer.to(values.dtype) if of_entropy else outer[:1].to(values.dtype)
    return [values.detach(), *torch.autograd.grad((values[: len(outer)] * outer).sum(), inputs)]


@pytest.mark.parametrize("at_once", AT_ONCE)
@pytest.mark.parametrize("temperature", [1.0, 0.6])
@pytest.mark.parametrize("of_entropy", [True, False])
def test_values_and_gradients_in_float64(at_once: int | None, temperature: float, of_entropy: bool) -> None:
    *inputs, token_ids = case()
    found = with_gradients(chunked(*inputs, token_ids, temperature, at_once), inputs, of_entropy)
    expected = with_gradients(plain(*inputs, token_ids, temperature), inputs, of_entropy)
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-10)


@pytest.mark.parametrize(("with_bias", "at_once"), [(True, 1), (False, 10)])
def test_gradients_are_finite_differences(with_bias: bool, at_once: int) -> None:
    hidden, weight, bias, token_ids = case(tokens=2, vocab=5)

    def values(*inputs: Tensor) -> Tensor:
        return chunked(*inputs, *([] if with_bias else [None]), token_ids, 0.8, at_once)

    assert torch.autograd.gradcheck(values, (hidden, weight, bias) if with_bias else (hidden, weight))


@pytest.mark.parametrize("at_once", [701, None])
def test_float32_is_as_good_as_plain_float32(at_once: int | None) -> None:
    *inputs, token_ids = case(torch.float32)
    exact = with_gradients(plain(*(tensor.double() for tensor in inputs), token_ids, 0.6), inputs)
    found = with_gradients(chunked(*inputs, token_ids, 0.6, at_once), inputs)
    assert all(tensor.dtype == torch.float32 for tensor in found)
    for mine, right in zip(found, exact, strict=True):
        torch.testing.assert_close(mine.double(), right.double(), rtol=1e-5, atol=1e-5 * right.abs().max().item())


def error(found: Tensor, exact: Tensor) -> float:
    return ((found.double() - exact).norm() / exact.norm()).item()


def test_chunks_add_up_bfloat16_in_float32() -> None:
    """A chunk's product is rounded, and so is the sum: the error is not that of sums in bfloat16, which is twice."""
    *inputs, token_ids = case(torch.bfloat16, tokens=256, vocab=16_000)
    inputs[0].data /= 4  # whose logits do not round so coarsely that nothing else counts
    wide = [tensor.detach().double().requires_grad_() for tensor in inputs]
    exact = with_gradients(plain(*wide, token_ids, 1.0), tuple(wide))
    errors = []
    for at_once in (10**8, 2**18, 2**14):  # one chunk; 16 of vocab; 16 of tokens and 16 of vocab
        found = with_gradients(chunked(*inputs, token_ids, 1.0, at_once), inputs)
        assert [tensor.dtype for tensor in found] == [torch.float32, *[torch.bfloat16] * 3]
        errors.append([error(*pair) for pair in zip(found, exact, strict=True)])
    assert all(worst < 0.01 for worst in errors[0])
    for some in errors[1:]:
        assert all(of_tiles < 1.35 * of_one for of_tiles, of_one in zip(some, errors[0], strict=True)), errors
    assert errors[1][2] == pytest.approx(errors[0][2], rel=1e-3), "one product over all tokens: rounded once"


def test_words_that_cannot_be_and_huge_logits() -> None:
    hidden, weight, bias, token_ids = case()
    bias.data[5:900:2] = -torch.inf
    token_ids = token_ids // 2 * 2
    for scale in (1.0, 1e4):
        log_softmax = (scale * hidden @ weight.t() + bias).log_softmax(-1)  # its entropy would not be a number
        values = [
            linear_log_probs(hidden * scale, weight, bias, token_ids, 1.0, False, 701)[0],
            log_softmax.gather(-1, token_ids.unsqueeze(-1)).squeeze(-1),
        ]
        mine, right = (torch.autograd.grad(of.sum(), (hidden, weight)) for of in values)
        torch.testing.assert_close(*values, rtol=1e-12, atol=1e-10)
        torch.testing.assert_close(mine, right, rtol=1e-12, atol=1e-10)


def test_no_tokens() -> None:
    hidden, weight, bias, token_ids = case()
    values = chunked(hidden[:0], weight, bias, token_ids[:0], 1.0, 701)
    assert values.shape == (2, 0)
    values.sum().backward()
    assert all(tensor.grad is not None and not tensor.grad.any() for tensor in (hidden, weight, bias))


def test_shapes_are_those_of_the_tokens() -> None:
    hidden, weight, bias, token_ids = case(tokens=24)
    flat = chunked(hidden, weight, bias, token_ids, 1.0, 701)
    shaped = chunked(hidden.view(2, 3, 4, D), weight, bias, token_ids.view(2, 3, 4), 1.0, 701)
    torch.testing.assert_close(shaped, flat.view(2, 2, 3, 4), rtol=0, atol=1e-12)
    assert linear_log_probs(hidden, weight, bias, token_ids)[1] is None


def test_only_what_is_asked_for_gets_a_gradient() -> None:
    hidden, weight, bias, token_ids = case()
    with torch.no_grad():
        assert not chunked(hidden, weight, bias, token_ids, 1.0, 701).requires_grad
    for alone in (hidden, weight, bias):
        others = [tensor if tensor is alone else tensor.detach() for tensor in (hidden, weight, bias)]
        found = with_gradients(chunked(*others, token_ids, 1.0, 701), (alone,))
        expected = with_gradients(plain(*others, token_ids, 1.0), (alone,))
        torch.testing.assert_close(found, expected, rtol=0, atol=1e-10)
    assert not chunked(hidden.detach(), weight.detach(), bias.detach(), token_ids, 1.0, 701).requires_grad


def test_a_tied_weight_and_checkpointing_around() -> None:
    """The weight is an embedding too: its gradient is the sum of both."""
    _, weight, _, token_ids = case()

    def hidden() -> Tensor:
        return weight[token_ids.roll(1)].tanh()

    expected = with_gradients(plain(hidden(), weight, None, token_ids, 1.0), (weight,))
    around = checkpoint(lambda: chunked(hidden(), weight, None, token_ids, 1.0, 701), use_reentrant=False)
    for values in (around, chunked(hidden(), weight, None, token_ids, 1.0, 701)):
        torch.testing.assert_close(with_gradients(values, (weight,)), expected, rtol=0, atol=1e-10)


class LargestTensor(TorchDispatchMode):
    """The number of elements of the largest tensor that any operation returns."""

    elements = 0

    def __torch_dispatch__(self, func: Callable, types: object, args: tuple = (), kwargs: dict | None = None) -> object:
        result = func(*args, **(kwargs or {}))
        sizes = [leaf.numel() for leaf in tree_leaves(result) if isinstance(leaf, Tensor)]
        self.elements = max(self.elements, *sizes, 0)
        return result


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_logits_never_exist_together(dtype: torch.dtype) -> None:
    hidden, weight, bias, token_ids = case(dtype, tokens=600, vocab=4001)
    for of, most in ((chunked, weight.numel()), (plain, 600 * 4001)):
        with LargestTensor() as largest:
            of(hidden, weight, bias, token_ids, 1.0, *([40_000] if of is chunked else [])).sum().backward()
        assert largest.elements == most, "the gradient of the weight is the largest"


@pytest.mark.parametrize("at_once", [*AT_ONCE, ON_CPU])
@pytest.mark.parametrize(("tokens", "vocab"), [(N, V), (3000, 50), (1, 10 * ON_CPU), (ON_CPU, 2 * MIN_VOCAB)])
def test_chunks_cover_all_and_are_no_larger(tokens: int, vocab: int, at_once: int | None) -> None:
    with torch.device("meta"):
        inputs = (torch.empty(tokens, 2), torch.empty(vocab, 2), None, torch.empty(tokens, dtype=torch.long))
    chunks = Chunks(*inputs, 1.0, at_once or ON_CPU)
    for parts, length in ((chunks.tokens, tokens), (chunks.vocab, vocab)):
        assert [parts[0].start, *(part.stop for part in parts)] == [*(part.start for part in parts), length]
        assert all(part.start < part.stop for part in parts)
    largest = [max(part.stop - part.start for part in parts) for parts in (chunks.tokens, chunks.vocab)]
    assert largest[0] * largest[1] <= (at_once or ON_CPU)


@pytest.mark.distributed
def test_a_sharded_head_on_two_ranks(qwen2_folder: str, qwen3_folder: str) -> None:
    """Tied and untied; the weight is given back after the forward pass and gathered again."""
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    script = [str(Path(__file__).with_name("head_ranks.py")), qwen2_folder, qwen3_folder]
    environment = ENVIRONMENT | {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT / "src")}
    done = subprocess.run([*command, *script], cwd=ROOT, env=environment, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr[-3000:]
    assert sorted(done.stdout.splitlines()) == sorted(f"{f} is the same" for f in (qwen2_folder, qwen3_folder) * 2)
