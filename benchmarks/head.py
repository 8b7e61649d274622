"""Compare ways to compute log-probs of a large vocabulary: `python benchmarks/head.py [--json FILE] [--tokens 2048]`.

Each way computes the log-prob of each token from hidden states and the head's weight, and the gradients of both, where
every token has its own upstream gradient, in float32 on one thread. The table shows one forward and backward pass of
each way in a fresh process: its time over that of the plain way, and its peak memory beyond what was resident before
(VmHWM, reset before the pass) and beyond the gradient of the weight, in copies of the logits (tokens x vocab in
float32); freed memory is returned to the system first (malloc_trim). The ratio of times that has a goal compares the
plain and the chunked way in turn in one process, so that both see the same load, taking the best of `rounds` of each.
All times are CPU times, which on one thread of an idle machine equal wall-clock times. Errors are the greatest
difference from float64 over the greatest value, at a quarter of both sizes. Goals of the chunked way: memory of at most
0.1 copies, time of at most 1.4.

- plain: whole logits, log_softmax, gather.
- checkpointed: chunks of tokens under torch's checkpoint, as this project used to do.
- torch: torch.nn.functional.linear_cross_entropy (2.13), 512 tokens at once; its default of 2 is far slower.
- chunked: gmpo.models.chunked_log_probs; and the same with entropies, which the others do not compute.

Not measured: liger-kernel and cut-cross-entropy, whose Triton kernels need a GPU.
"""

import argparse
import ctypes
import gc
import json
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from gmpo.models.chunked_log_probs import linear_log_probs

WIDTH, VOCAB = 256, 151_936
CHUNK_LOGITS = 2**27  # of the checkpointed way
GOALS = {"head_peak_copies": 0.1, "head_time_over_plain": 1.4}
Inputs = tuple[Tensor, Tensor, Tensor]  # hidden states, weight, token ids


def plain(hidden: Tensor, weight: Tensor, ids: Tensor) -> Tensor:
    return (hidden @ weight.t()).log_softmax(-1).gather(-1, ids.unsqueeze(-1)).squeeze(-1)


def checkpointed(hidden: Tensor, weight: Tensor, ids: Tensor) -> Tensor:
    size = max(1, CHUNK_LOGITS // len(weight))
    chunks = zip(hidden.split(size), ids.split(size), strict=True)
    return torch.cat([checkpoint(plain, part, weight, its_ids, use_reentrant=False) for part, its_ids in chunks])


def of_torch(hidden: Tensor, weight: Tensor, ids: Tensor) -> Tensor:
    how = {"reduction": "none", "options": nn.LinearCrossEntropyOptions(batch_chunk_size=512)}
    return -nn.functional.linear_cross_entropy(hidden, weight, ids, **how)


def chunked(hidden: Tensor, weight: Tensor, ids: Tensor) -> Tensor:
    return linear_log_probs(hidden, weight, None, ids)[0]


def chunked_with_entropy(hidden: Tensor, weight: Tensor, ids: Tensor) -> Tensor:
    log_probs, entropy = linear_log_probs(hidden, weight, None, ids, with_entropy=True)
    assert entropy is not None
    return log_probs + 0.01 * entropy


WAYS: dict[str, Callable[..., Tensor]] = {
    "plain": plain,
    "checkpointed": checkpointed,
    "torch": of_torch,
    "chunked": chunked,
    "chunked, entropy": chunked_with_entropy,
}


def inputs_of(tokens: int, vocab: int, dtype: torch.dtype = torch.float32) -> tuple[Inputs, Tensor]:
    """Return the inputs, and the gradient of each token's log-prob."""
    generator = torch.Generator().manual_seed(0)
    hidden = torch.randn(tokens, WIDTH, generator=generator).to(dtype).requires_grad_()
    weight = (torch.randn(vocab, WIDTH, generator=generator) * 0.1).to(dtype).requires_grad_()
    ids = torch.randint(vocab, (tokens,), generator=generator)
    return (hidden, weight, ids), torch.randn(tokens, generator=generator).to(dtype)


def seconds_of(way: Callable[..., Tensor], inputs: Inputs, outer: Tensor) -> float:
    """Return the CPU seconds of a forward and backward pass: waiting for others on a shared machine does not count."""
    inputs[0].grad = inputs[1].grad = None
    start = time.process_time()
    way(*inputs).backward(outer)
    return time.process_time() - start


def resident(field: str) -> int:
    """Return the bytes of VmRSS or VmHWM."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(field))


def of_one_pass(way: Callable[..., Tensor], tokens: int) -> dict[str, float]:
    """Return its seconds, and its peak memory beyond the gradient of the weight, in copies of the logits."""
    inputs, outer = inputs_of(tokens, VOCAB)
    small, its_outer = inputs_of(8, 512)
    seconds_of(way, small, its_outer)  # allocate once: threads, buffers of the matrix product
    gc.collect()
    ctypes.CDLL(None).malloc_trim(0)
    Path("/proc/self/clear_refs").write_text("5")  # reset VmHWM
    before = resident("VmRSS")
    seconds = seconds_of(way, inputs, outer)
    return {"seconds": seconds, "copies": (resident("VmHWM") - before - inputs[1].nbytes) / (4 * tokens * VOCAB)}


def times_of(tokens: int, rounds: int) -> dict[str, float]:
    """Return the shortest times of the plain and the chunked way."""
    inputs, outer = inputs_of(tokens, VOCAB)
    times = [(seconds_of(plain, inputs, outer), seconds_of(chunked, inputs, outer)) for _ in range(rounds)]
    return {"plain": min(pair[0] for pair in times), "chunked": min(pair[1] for pair in times)}


def errors_of(tokens: int) -> dict[str, dict[str, float]]:
    """Return float32 errors of log-probs and gradients against the plain way in float64, entropies left out."""

    def results(way: Callable[..., Tensor], dtype: torch.dtype) -> list[Tensor]:
        inputs, outer = inputs_of(tokens // 4, VOCAB // 4, dtype)
        values = way(*inputs)
        values.backward(outer)
        return [values.detach().double(), *(tensor.grad.double() for tensor in inputs[:2])]  # type: ignore[union-attr]

    exact = results(plain, torch.float64)
    found: dict[str, dict[str, float]] = {}
    for name, way in WAYS.items():
        pairs = zip(("value", "hidden", "weight"), results(way, torch.float32), exact, strict=True)
        if way is not chunked_with_entropy:
            found[name] = {what: ((mine - right).abs().max() / right.abs().max()).item() for what, mine, right in pairs}
    return found


def asked(question: str, options: argparse.Namespace) -> Any:
    """Make one measurement in a separate process."""
    sizes = ["--tokens", str(options.tokens), "--rounds", str(options.rounds)]
    done = subprocess.run(
        [sys.executable, __file__, "--child", question, *sizes], stdout=subprocess.PIPE, text=True, check=True
    )
    return json.loads(done.stdout)


def answer(question: str, options: argparse.Namespace) -> object:
    """Answer a question in the child process."""
    torch.set_num_threads(1)
    if question == "times":
        return times_of(options.tokens, options.rounds)
    return errors_of(options.tokens) if question == "errors" else of_one_pass(WAYS[question], options.tokens)


def measure(options: argparse.Namespace) -> dict[str, dict]:
    """Return `ratios` that have goals, and `raw`: sizes, and for each way seconds, copies of the logits and errors."""
    seconds, errors = asked("times", options), asked("errors", options)
    ways = {name: asked(name, options) | errors.get(name, {}) for name in WAYS}
    ratios = {
        "head_peak_copies": ways["chunked"]["copies"],
        "head_time_over_plain": seconds["chunked"] / seconds["plain"],
    }
    sizes = {"tokens": options.tokens, "width": WIDTH, "vocab": VOCAB}
    return {"ratios": ratios, "raw": {"sizes": sizes, "seconds_in_turn": seconds, "ways": ways}}


def row(name: str, found: dict[str, float], plain_seconds: float) -> str:
    errors = "".join(f"{found[key]:>10.1e}" for key in ("value", "hidden", "weight") if key in found)
    return f"{name:<15}{found['seconds'] / plain_seconds:>6.2f}{found['seconds']:>9.1f}{found['copies']:>9.3f}{errors}"


def main() -> None:
    """Print the table, and whether the goals are met."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--json", type=Path)
    parser.add_argument("--tokens", type=int, default=2048)
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--child")
    options = parser.parse_args()
    if options.child:
        print(json.dumps(answer(options.child, options)))
        return
    found = measure(options)
    print(f"{options.tokens} tokens, width {WIDTH}, vocabulary {VOCAB}, float32, one thread, torch {torch.__version__}")
    print(f"{'way':<15}{'time':>6}{'seconds':>9}{'memory':>9}{'value':>10}{'d hidden':>10}{'d weight':>10}")
    ways = found["raw"]["ways"]
    for name, values in ways.items():
        print(row(name, values, ways["plain"]["seconds"]))
    for name, goal in GOALS.items():
        value = found["ratios"][name]
        print(f"{name}: {value:.3f}, goal {goal}: {'met' if value <= goal else 'missed'}")
    if options.json:
        options.json.write_text(json.dumps(found, indent=1))


if __name__ == "__main__":
    main()
