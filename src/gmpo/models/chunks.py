"""Logits a chunk at a time: some tokens by part of the vocabulary, in memory that all chunks share."""

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from gmpo.models.chunk_size import ON_CPU, ON_GPU, chunk_size


class Chunks:
    """The logits of N tokens over a vocabulary of V, of which one chunk of n tokens by v entries exists at a time.

    hidden: the head's input. weight, bias: the head's. targets: for each row, the token whose log-prob is wanted.
    max_logits: most tokens times vocabulary entries of a chunk; None: chosen by device. A method that returns a chunk
    returns memory that the next call of the same method overwrites.
    """

    def __init__(
        self,
        hidden: Float[Tensor, "N D"],
        weight: Float[Tensor, "V D"],
        bias: Float[Tensor, "V"] | None,
        targets: Int[Tensor, "N"],
        temperature: float,
        max_logits: int | None,
    ) -> None:
        self.hidden, self.weight, self.bias, self.targets = hidden, weight, bias, targets
        self.temperature = temperature
        self.precision = torch.promote_types(hidden.dtype, torch.float32)  # of everything computed from a product
        max_logits = max_logits or (ON_CPU if hidden.device.type == "cpu" else ON_GPU)
        longest, widest = chunk_size(len(hidden), len(weight), max_logits)
        self.tokens, self.vocab = parts(len(hidden), longest), parts(len(weight), widest)
        self._product = hidden.new_empty(longest * widest)
        self._wide = hidden.new_empty(longest * widest, dtype=self.precision) if self.is_half else self._product
        self._second: Tensor | None = None

    @property
    def is_half(self) -> bool:
        """Whether products are less precise than what is computed from them."""
        return self.hidden.dtype != self.precision

    def full(self, value: float) -> Float[Tensor, "N"]:
        """Return the value once for each token."""
        return self.hidden.new_full((len(self.hidden),), value, dtype=self.precision)

    def logits(self, tokens: slice, vocab: slice) -> Float[Tensor, "n v"]:
        """Return the chunk's logits as the head computes them, in its own precision."""
        rows, columns = self.hidden[tokens], self.weight[vocab].t()
        out = _shaped(self._product, len(rows), columns.shape[1])
        if self.bias is None:
            return torch.mm(rows, columns, out=out)
        return torch.addmm(self.bias[vocab], rows, columns, out=out)

    def shifted(self, logits: Float[Tensor, "n v"], shift: Float[Tensor, "n"]) -> Float[Tensor, "n v"]:
        """Return logits / temperature − shift of each token; may overwrite the logits."""
        out = _shaped(self._wide, *logits.shape)
        return torch.add(-shift[:, None], logits, alpha=1 / self.temperature, out=out)

    def exp(self, exponents: Float[Tensor, "n v"]) -> Float[Tensor, "n v"]:
        """Return exponentials; the exponents are kept."""
        if self._second is None:
            self._second = torch.empty_like(self._wide)
        return torch.exp(exponents, out=_shaped(self._second, *exponents.shape))

    def as_product(self, values: Float[Tensor, "n v"]) -> Float[Tensor, "n v"]:
        """Return values in the precision of products."""
        return _shaped(self._product, *values.shape).copy_(values) if self.is_half else values

    def sums_of(self, totals: Float[Tensor, "v *D"]) -> Float[Tensor, "v *D"]:
        """Return zeros to accumulate the values of `totals`, in its own memory where that is precise enough."""
        return torch.zeros_like(totals, dtype=self.precision) if self.is_half else totals.zero_()

    def targets_in(self, tokens: slice, vocab: slice) -> tuple[Int[Tensor, "n 1"], Bool[Tensor, "n 1"]]:
        """Return the column of each target in a chunk, and whether it is there; if not, the column is arbitrary."""
        columns = self.targets[tokens, None] - vocab.start
        inside = columns.clamp(0, vocab.stop - vocab.start - 1)
        return inside, columns == inside


def parts(length: int, each: int) -> list[slice]:
    """Return slices of `each` elements; the last has the rest."""
    return [slice(start, min(start + each, length)) for start in range(0, length, max(1, each))]


def add_product(total: Float[Tensor, "a b"], left: Float[Tensor, "a k"], right: Float[Tensor, "k b"]) -> None:
    """Add a product in place; the product is rounded to its factors' precision, even if the total's is higher."""
    if total.dtype == left.dtype:
        total.addmm_(left, right)
    else:
        total += left @ right


def _shaped(memory: Tensor, tokens: int, vocab: int) -> Float[Tensor, "n v"]:
    return memory[: tokens * vocab].view(tokens, vocab)
