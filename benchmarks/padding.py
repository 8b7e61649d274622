"""Measure padding and balance on real lengths: `python benchmarks/padding.py FILE.jsonl ... [--column solution]`.

Splits each mini-batch for 2 and 16 ranks by `gmpo.batching.balancing`, padded and packed, and for comparison into
micro-batches of 16 sequences in the order they come, dealt out to ranks in turn. A file has a column `tokens` (a run's
rollouts/train.jsonl) or a text column, in which 4 bytes count as a token. Goal: under 5% padding, at most 1.05.
"""

import json
from argparse import ArgumentParser, RawDescriptionHelpFormatter
from collections.abc import Callable
from pathlib import Path

from gmpo.batching.balancing import Cost, Rounds, imbalance, padding_share, split_into_micro_batches

RANKS = (2, 16)
FIXED_SIZE = 16
BYTES_PER_TOKEN = 4
MOST_PADDING, MOST_IMBALANCE = 0.05, 1.05


def main() -> None:
    """Read the lengths, split them, print the table."""
    parser = ArgumentParser(description=__doc__, formatter_class=RawDescriptionHelpFormatter)
    parser.add_argument("files", nargs="+", type=Path, metavar="FILE.jsonl")
    parser.add_argument("--column", default="solution", help="text column for files without a column tokens")
    parser.add_argument("--sequences", type=int, default=512, help="sequences of a mini-batch")
    parser.add_argument("--max-tokens", type=int, default=8192, help="tokens of a micro-batch")
    parser.add_argument("--quadratic", type=float, default=0.0, help="work of T² against the work of T")
    given = parser.parse_args()
    cost = Cost(quadratic=given.quadratic)
    print(f"mini-batches of {given.sequences}, micro-batches of at most {given.max_tokens} tokens, {cost}")
    for path in given.files:
        lengths = read_lengths(path, given.column)
        print(f"\n{path}: {len(lengths)} sequences, {sum(lengths) / len(lengths):.0f} tokens, at most {max(lengths)}")
        print(f"{'ranks':>5} {'cut':<12} {'rounds':>6} {'padding':>8} {'imbalance':>10}  goal")
        for ranks in RANKS:
            print_cuts(lengths, given.sequences, given.max_tokens, cost, ranks)


def read_lengths(path: Path, column: str) -> list[int]:
    """Return the tokens of each row."""
    rows = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    if "tokens" in rows[0]:
        return [row["tokens"] for row in rows]
    return [max(1, len(row[column].encode()) // BYTES_PER_TOKEN) for row in rows]


def print_cuts(lengths: list[int], sequences: int, max_tokens: int, cost: Cost, ranks: int) -> None:
    """Print a line for each way to split."""
    cuts: list[tuple[str, bool, Callable[[list[int]], Rounds]]] = [
        ("fixed size", False, lambda part: fixed_size(part, ranks)),
        ("padded", False, lambda part: split_into_micro_batches(part, max_tokens, cost, ranks)),
        ("packed", True, lambda part: split_into_micro_batches(part, max_tokens, cost, ranks, packed=True)),
    ]
    for name, packed, way in cuts:
        rounds = in_mini_batches(lengths, sequences, way)
        padding, unequal = padding_share(lengths, rounds, packed), imbalance(lengths, rounds, cost, packed)
        goal = "met" if padding < MOST_PADDING and unequal <= MOST_IMBALANCE else "missed"
        print(f"{ranks:>5} {name:<12} {len(rounds):>6} {padding:>8.1%} {unequal:>10.3f}  {goal}")


def in_mini_batches(lengths: list[int], sequences: int, way: Callable[[list[int]], Rounds]) -> Rounds:
    """Return the rounds of all mini-batches of this many sequences, one after the other."""
    return [
        [[start + i for i in batch] for batch in ranks]
        for start in range(0, len(lengths), sequences)
        for ranks in way(lengths[start : start + sequences])
    ]


def fixed_size(lengths: list[int], ranks: int) -> Rounds:
    """Return micro-batches of 16 sequences in the order they come, dealt out in turn."""
    places = range(len(lengths))
    batches = [list(places[start : start + FIXED_SIZE]) for start in range(0, len(lengths), FIXED_SIZE)]
    batches += [[]] * (-len(batches) % ranks)
    return [batches[start : start + ranks] for start in range(0, len(batches), ranks)]


if __name__ == "__main__":
    main()
