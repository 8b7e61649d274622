"""The check that training computes a loaded model's own log-probs, the same as for a sequence alone.

What can change them has many names in configs: dropout, multipliers and caps after the head, RoPE that depends on the
longest position of a pass, states that carry over to the next sequence of a row. Instead of looking for names, a few
ids are sent through the model. No random number is drawn from the run's generators.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.distributed import ProcessGroup
from transformers import PreTrainedModel

from gmpo.batching import pad_sequences
from gmpo.compat import attention_of, config_value, set_attention
from gmpo.models.files import reason
from gmpo.models.log_prob_head import LogProbHead, given_logits, linear_head
from gmpo.models.log_probs import predict, rows_of
from gmpo.parallel.blocks import blocks_of
from gmpo.parallel.collectives import gather
from gmpo.parallel.fsdp import reshard
from gmpo.run.errors import ModelError
from gmpo.types import MicroBatch, Prompt, Response, Rollout

LIMIT, LIMIT_IN_HALF = (
    1e-3,
    1e-2,
)  # nats: for the largest difference, and for the mean one, which rounding does not affect
LIMIT_OF_ROUNDING = 0.2  # nats, in half precision, for the mean between passes of different shapes
LOGITS = 20.0  # as large as in trained models: the given logits are between this and its negative
LENGTHS = (15, 9)  # tokens of the neighbour, and of the checked sequence
HALF = (torch.bfloat16, torch.float16)
PLAIN = "eager"  # transformers' plain attention

AFTER_THE_HEAD, CHANCE, LATER, POSITION, NEIGHBOUR, ALONE, OWN = range(7)  # ordered: an earlier one explains later ones


@dataclass(frozen=True)
class Probe:
    """A few ids on a device, and how the run sends them through the model.

    longest: tokens of the longest sequence that the run can have; None where that is unknown.
    """

    model: PreTrainedModel
    packed: bool
    cp_group: ProcessGroup | None
    device: torch.device
    compute_dtype: torch.dtype
    longest: int | None

    def differences(self) -> dict[int, float]:
        """Return the differences of log-probs that should be equal, in nats; stop at the first that decides."""
        found = {AFTER_THE_HEAD: self.after_the_head()}
        if found[AFTER_THE_HEAD] > LIMIT:
            return found
        neighbour, sequence = (self._ids(length, seed) for seed, length in enumerate(self.lengths))
        other = self._ids(len(neighbour), seed=2)
        together = self._log_probs([neighbour, sequence], last_position=len(neighbour))
        again = self._log_probs([neighbour, sequence], last_position=len(neighbour))
        found[CHANCE] = self._between(together, again)
        another_end = torch.cat([sequence[:-1], other[-1:]])
        end = self._log_probs([neighbour, another_end], last_position=len(neighbour))
        found[LATER] = self._between([together[0], together[1][:-1]], [end[0], end[1][:-1]])
        if self.longest is not None and self.longest > len(neighbour):
            far = self._log_probs([neighbour, sequence], last_position=self.longest - 1)
            found[POSITION] = self._between(together, far)
        beside_another = self._log_probs([other, sequence], last_position=len(neighbour), padding=1)
        found[NEIGHBOUR] = self._between(together[1:], beside_another[1:])
        alone = self._log_probs([sequence])
        found[ALONE] = self._between(together[1:], alone)
        found[OWN] = self._between(alone, [self._own_log_probs(sequence)])
        return found

    @property
    def lengths(self) -> tuple[int, int]:
        """Tokens of the neighbour, which is the longer one, and of the sequence; the model reads one position more."""
        positions = config_value(self.model.config, "max_position_embeddings")
        room = min(n for n in (LENGTHS[0] + 1, self.longest, positions) if isinstance(n, int)) - 1
        return max(room, 3), max(min(LENGTHS[1], room - 1), 2)

    @property
    def _words(self) -> int:
        return len(linear_head(self.model).weight)

    def _ids(self, length: int, seed: int) -> Int[Tensor, "n"]:
        words = min(self._words, len(self.model.get_input_embeddings().weight))
        return torch.randint(words, (length,), generator=torch.Generator().manual_seed(seed))

    def _log_probs(
        self, sequences: list[Int[Tensor, "_"]], last_position: int | None = None, padding: int = 0
    ) -> list[Float[Tensor, "_"]]:
        """Return the log-probs of each sequence's tokens but the first, as the run computes them.

        last_position: of the last token, whose own prediction is not used.
        """
        batch = _batch(sequences, padding).to(self.device)
        rows = rows_of(batch, self.packed)
        if last_position is not None:
            positions = rows.position_ids.clone()
            positions[-1, -1 if self.packed else len(sequences[-1]) - 1] = last_position
            rows = replace(rows, position_ids=positions)
        log_probs, _ = predict(self.model, rows, LogProbHead(1.0, False), self.cp_group)
        kept = (log_probs.squeeze(0) if self.packed else log_probs[batch.mask]).float()
        return list(kept.split([len(ids) - 1 for ids in sequences]))

    def _own_log_probs(self, sequence: Int[Tensor, "n"]) -> Float[Tensor, "n-1"]:
        """Return the log-probs from the model's own logits, with transformers' plain attention."""
        ids = sequence.unsqueeze(0).to(self.device)
        with _plain_attention(self.model):
            logits = self.model(input_ids=ids, use_cache=False).logits[0, :-1].float()
        return logits.log_softmax(-1).gather(-1, ids[0, 1:, None]).squeeze(-1)

    def after_the_head(self) -> float:
        """Return how far the model moves the log-probs of logits that its head is made to return."""
        on_meta = self.device.type == "meta"
        given = torch.linspace(-LOGITS, LOGITS, self._words, device="cpu" if on_meta else self.device)
        ids = self._ids(2, 0).unsqueeze(0).to(self.device)
        with torch.no_grad(), _plain_attention(self.model), given_logits(self.model, given):
            masked = (
                {"attention_mask": torch.ones_like(ids)} if on_meta else {}
            )  # else the values of positions are read
            got = self.model(input_ids=ids, use_cache=False, **masked).logits.float()
        if got.shape[-1] != len(given):
            return float("inf")
        return float((got.log_softmax(-1) - given.log_softmax(-1)).abs().max())

    def _between(self, one: list[Float[Tensor, "_"]], other: list[Float[Tensor, "_"]]) -> float:
        apart = (torch.cat(one) - torch.cat(other)).abs()
        return float(apart.mean() if self.compute_dtype in HALF else apart.max())

    def limit(self, kind: int) -> float:
        """Return the largest difference that counts as equal, in nats."""
        if kind == AFTER_THE_HEAD or self.compute_dtype not in HALF:
            return LIMIT
        return LIMIT_OF_ROUNDING if kind in (ALONE, OWN) else LIMIT_IN_HALF


def _batch(sequences: list[Int[Tensor, "_"]], padding: int) -> MicroBatch:
    prompt = [Prompt(0, "", "", ids[:1].tolist(), "", "") for ids in sequences]
    responses = [Response(ids[1:].tolist(), [0.0] * (len(ids) - 1), "", False) for ids in sequences]
    return pad_sequences([(p, Rollout(r, 0.0)) for p, r in zip(prompt, responses, strict=True)], padding)


@contextmanager
def _plain_attention(model: PreTrainedModel) -> Iterator[None]:
    usual = attention_of(model)
    set_attention(model, PLAIN)
    try:
        yield
    finally:
        set_attention(model, usual)


@torch.no_grad()
def check_log_probs(probe: Probe, path: str) -> None:
    """Raise ModelError where training would not compute the model's own log-probs.

    Collective: every rank calls it with its part of the model, and all raise the same error. path: the model's name.
    """
    found, fault = _tried(probe.differences, path)
    reshard(probe.model)
    everywhere = gather((found, fault))
    for _, other in everywhere:
        if other is not None:
            raise ModelError(other)
    for kind in sorted(found):
        apart = max(differences[kind] for differences, _ in everywhere)
        if not apart <= probe.limit(kind):
            raise ModelError(_refusal(kind, apart, probe, path))


def check_head(model: PreTrainedModel, path: str) -> None:
    """Raise ValueError, before any weight is read, where the model changes its logits after its head.

    model: on the meta device, where not every model runs; otherwise `check_log_probs` finds it later. All blocks but
    the first are removed, since they do not matter here.
    """
    del blocks_of(model)[1][1:]
    probe = Probe(model, False, None, torch.device("meta"), torch.float32, None)
    try:
        apart = probe.after_the_head()
    except Exception:  # noqa: BLE001  (from code that needs values where there are only shapes)
        return
    if apart > LIMIT:
        raise ValueError(_refusal(AFTER_THE_HEAD, apart, probe, path))


def _tried(differences: Callable[[], dict[int, float]], path: str) -> tuple[dict[int, float], str | None]:
    try:
        return differences(), None
    except torch.OutOfMemoryError:
        raise
    except Exception as error:  # noqa: BLE001  (a model's code may raise anything)
        return {}, (
            f"model.path={path} cannot compute log-probs as training does ({type(error).__name__}: {reason(error)}): "
            "take another model"
        )


def _refusal(kind: int, apart: float, probe: Probe, path: str) -> str:
    model = type(probe.model).__name__.removeprefix("FSDP")
    if apart != apart:
        return (
            f"model.path={path}: the model's logits are not finite: its weights hold NaN or infinity. Copy or download "
            "the model again"
        )
    by = f"by up to {apart:.3g} nats" if probe.compute_dtype not in HALF else f"by {apart:.3g} nats on average"
    if kind == AFTER_THE_HEAD:
        return (
            f"model.path={path} changes its logits after its head, as by a multiplier or a cap ({model}; log-probs of "
            f"logits of up to {LOGITS:.0f} move {f'by up to {apart:.3g} nats'}), and training computes log-probs from "
            "the head alone: take another model"
        )
    if kind == CHANCE:
        return (
            f"model.path={path} gives the same tokens other log-probs in each pass ({by}), as dropout does that is "
            "active in evaluation mode: take another model, or switch it off by +model.overrides.KEY=0"
        )
    if kind == LATER:
        return (
            f"model.path={path} gives a token another log-prob ({by}) where a later one is another ({model}): it is "
            "not causal, as an encoder is not. Take a decoder-only model"
        )
    if kind == POSITION:
        return (
            f"model.path={path} gives a token another log-prob ({by}) where the longest sequence of the pass is of "
            f"{probe.longest} tokens, as RoPE that depends on the longest position does{_rope(probe.model)}: lower "
            "data.max_prompt_tokens + sampling.max_tokens (and validation.max_tokens) to the length that it was "
            "trained with, or choose another scaling by model.overrides"
        )
    if kind in (NEIGHBOUR, ALONE):
        split = probe.cp_group is not None  # over ranks, which exchange keys and values but no other state
        remedy = "choose model.attention=sdpa, which pads" if probe.packed else "take another model"
        remedy = "choose cluster.cp=1" if split and not probe.packed else remedy
        return (
            f"model.path={path} gives a sequence other log-probs ({by}) with other sequences or padding in the "
            f"micro-batch ({model}): {remedy}"
        )
    return (
        f"model.path={path} has other log-probs by its own logits than training computes ({by}; {model}): its "
        "attention or positions are not what this project's passes give it. Choose model.attention=sdpa with "
        "cluster.cp=1 where that is not set, or take another model"
    )


def _rope(model: PreTrainedModel) -> str:
    rope = config_value(model.config, "rope_parameters")
    if not isinstance(rope, dict) or "rope_type" not in rope:
        return ""
    original = rope.get("original_max_position_embeddings")
    return f" (rope_type={rope['rope_type']}" + (f", trained with {original})" if original else ")")
