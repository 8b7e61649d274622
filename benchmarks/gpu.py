"""Measure an update on one GPU: `python benchmarks/gpu.py [--shape 1.5b 7b] [--tokens 4096 10240] [--rounds 5]`.

Forward and backward of GMPO's loss for a randomly initialized model of the shape of Qwen2.5-1.5B or 7B, with parameters
and gradients in bfloat16 on one GPU, without FSDP and without an optimizer step: AdamW's float32 moments and master
weights of 7 B parameters do not fit beside it. For each way and number of tokens: tokens/s, model FLOP/s (recomputed
activations do not count) over those of a bfloat16 product of two matrices in the same run, and peak memory.

- varlen: packed, torch's variable-length attention, log-probs by the project's head.
- varlen, checkpointing: the same, with blocks recomputed in the backward pass.
- flash: packed, flash-attn, where it is installed.
- sdpa: padded to the longest, log-probs by the project's head.
- plain: padded, whole logits in float32.
"""

import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from importlib.util import find_spec
from statistics import median

import torch
from gpu_shapes import SHAPES, Shape, model_flops, random_model, random_sequences
from raw_step import padded, plain_loss, texts_of
from results import hand_on, parser
from torch import Tensor

from gmpo.batching import pad_sequences
from gmpo.models.log_probs import response_log_probs
from gmpo.objectives import GMPO
from gmpo.parallel.fsdp import Sharding

GIB = 2**30
PAD = 0


@dataclass(frozen=True)
class Way:
    """One way to compute the update. head: the project's, or whole logits."""

    name: str
    attention: str
    packed: bool
    checkpointing: str = "none"
    head: bool = True


WAYS = (
    Way("varlen", "varlen", packed=True),
    Way("varlen, checkpointing", "varlen", packed=True, checkpointing="all"),
    Way("flash", "flash_attention_2", packed=True),
    Way("sdpa", "sdpa", packed=False),
    Way("plain", "sdpa", packed=False, head=False),
)


@dataclass(frozen=True)
class Found:
    """Measurements of one way; None where it does not fit into memory."""

    shape: str
    tokens: int
    way: str
    seconds: float | None = None
    tokens_per_second: float | None = None
    share_of_matmul: float | None = None
    peak_gib: float | None = None


def main() -> None:
    """Measure, print and write the figures; without a GPU, say so and end."""
    asked = parser(__doc__)
    asked.add_argument("--shape", nargs="+", choices=SHAPES, default=["1.5b", "7b"])
    asked.add_argument("--tokens", nargs="+", type=int, default=[4096, 10240])
    asked.add_argument("--rounds", type=int, default=5, help="rounds, of which the median counts")
    asked.add_argument("--device", default="cuda", choices=["cuda", "cpu"])
    given = asked.parse_args()
    if given.device == "cuda" and not torch.cuda.is_available():
        print("there is no GPU here: nothing is measured")
        hand_on(given.json, {}, {"skipped": "no GPU"})
        return
    device = torch.device(given.device)
    rate = matmul_flops(device, given.rounds)
    print(f"{device_name(device)}: a product of matrices makes {rate / 1e12:.1f} TFLOP/s in {dtype_on(device)}")
    print(f"{'shape':<6}{'tokens':>7}  {'way':<23}{'seconds':>8}{'tokens/s':>10}{'of product':>11}{'peak GiB':>10}")
    found = []
    for name in given.shape:
        for way in ways(device):
            for measured in of_way(SHAPES[name], way, given.tokens, device, rate, given.rounds):
                found.append(measured)
                print(line(measured), flush=True)
    best = [f.share_of_matmul for f in found if f.shape == "7b" and f.share_of_matmul is not None]
    ratios = {"gpu_7b_share_of_matmul": max(best)} if best else {}
    hand_on(
        given.json, ratios, {"matmul_flops": rate, "device": device_name(device), "found": [asdict(f) for f in found]}
    )


def ways(device: torch.device) -> list[Way]:
    """Return the ways that can run here."""
    if device.type == "cpu":
        return [way for way in WAYS if way.attention != "flash_attention_2"]
    return [way for way in WAYS if way.attention != "flash_attention_2" or find_spec("flash_attn")]


def dtype_on(device: torch.device) -> torch.dtype:
    """Return the dtype of parameters, gradients and products."""
    return torch.bfloat16 if device.type == "cuda" else torch.float32


def device_name(device: torch.device) -> str:
    """Return the device's name from its maker."""
    return torch.cuda.get_device_name(device) if device.type == "cuda" else "CPU"


def matmul_flops(device: torch.device, rounds: int) -> float:
    """Return the FLOP/s of a square matrix product, the median of several."""
    size = 8192 if device.type == "cuda" else 512
    one, other = (torch.randn(size, size, device=device, dtype=dtype_on(device)) for _ in range(2))
    return 2 * size**3 / median(timed(lambda: one @ other, device, 4 * rounds))


def timed(act: Callable[[], object], device: torch.device, rounds: int) -> list[float]:
    """Return the seconds of each round, after two that are left out."""
    took = []
    for _ in range(2 + rounds):
        synchronize(device)
        began = time.perf_counter()
        act()
        synchronize(device)
        took.append(time.perf_counter() - began)
    return took[2:]


def synchronize(device: torch.device) -> None:
    """Wait until a GPU has finished all of its work."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def of_way(
    shape: Shape, way: Way, all_tokens: list[int], device: torch.device, rate: float, rounds: int
) -> Iterator[Found]:
    """Measure one model with all numbers of tokens."""
    model = random_model(shape, way.attention, device, dtype_on(device))
    Sharding(checkpointing=way.checkpointing).checkpoint_activations(model)
    for tokens in all_tokens:
        act = update_of(model, shape, way, tokens, device)
        if device.type == "cuda":
            torch.cuda.empty_cache()
            torch.cuda.reset_peak_memory_stats(device)
        try:
            seconds = median(timed(act, device, rounds))
        except torch.OutOfMemoryError:
            model.zero_grad()
            yield Found(shape.name, tokens, way.name)
            continue
        peak = torch.cuda.max_memory_allocated(device) / GIB if device.type == "cuda" else None
        share = model_flops(shape, random_sequences(shape, tokens)) / seconds / rate
        yield Found(shape.name, tokens, way.name, seconds, tokens / seconds, share, peak)


def update_of(model: torch.nn.Module, shape: Shape, way: Way, tokens: int, device: torch.device) -> Callable[[], None]:
    """Run forward and backward of one micro-batch."""
    sequences = random_sequences(shape, tokens)
    objective = GMPO()

    def with_head() -> Tensor:
        log_probs, _ = response_log_probs(model, batch, temperature=1.0, packed=way.packed)
        denominator = torch.tensor(float(len(sequences)), device=device)
        return objective(log_probs, log_probs.detach(), batch.advantages, batch.mask, denominator)

    def act() -> None:
        loss = with_head() if way.head else plain_loss(model, plain) / len(sequences)
        loss.backward()
        model.zero_grad()

    batch = pad_sequences(sequences, PAD).to(device)
    plain = padded(texts_of(sequences), PAD).to(device)
    return act


def line(found: Found) -> str:
    """Return one row of the table."""
    start = f"{found.shape:<6}{found.tokens:>7}  {found.way:<23}"
    if found.seconds is None:
        return start + "  does not fit into memory"
    peak = "" if found.peak_gib is None else f"{found.peak_gib:.1f}"
    return start + f"{found.seconds:>8.3f}{found.tokens_per_second:>10.0f}{found.share_of_matmul:>11.1%}{peak:>10}"


if __name__ == "__main__":
    main()
