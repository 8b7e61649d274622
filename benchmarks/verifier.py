"""Measure how well and how fast answers are checked: `python benchmarks/verifier.py MATH.jsonl [GSM8K.jsonl ...]`.

Each file holds problems with their gold answers in the column "answer" (GSM8K's after ####). Every gold answer is
compared with itself, with other problems' answers, with itself written another way, and with wrong answers that look
like it. Then the speed on short answers is measured, comparing each pair once. docs/verifier.md has the tables.
"""

import argparse
import json
import random
import re
import time
from collections.abc import Callable
from pathlib import Path

from math_verify import parse, verify

from gmpo.rewards import MathReward

OTHERS = 3  # answers of other problems that each gold answer is compared with
INTEGER, FRACTION = re.compile(r"-?\d+"), re.compile(r"(-?)\\d?frac\{(\d+)\}\{(\d+)\}")
Rewriting = Callable[[str], str | None]  # None: does not apply


def number(make: Callable[[int], str]) -> Rewriting:
    """Return a rewriting of integers."""
    return lambda gold: make(int(gold)) if INTEGER.fullmatch(gold) and int(gold) else None


def fraction(make: Callable[[str, int, int], str | None]) -> Rewriting:
    """Return a rewriting of fractions by sign, numerator and denominator."""
    return lambda gold: make(f[1], int(f[2]), int(f[3])) if (f := FRACTION.fullmatch(gold)) else None


def listed(make: Callable[[str, list[str], str], str | None]) -> Rewriting:
    """Return a rewriting of two or more plain members by opening bracket, members and closing bracket."""

    def rewrite(gold: str) -> str | None:
        found = re.fullmatch(
            r"(\(|\[|\\\{|)(?:\\left)?\s*([^()\[\]{},]+(?:, ?(?!\d{3}\b)[^()\[\]{},]+)+)\s*(\)|\]|\\\}|)", gold
        )
        return make(found[1], [m.strip() for m in found[2].split(",")], found[3]) if found else None

    return rewrite


def expression(make: Callable[[str], str]) -> Rewriting:
    """Return a rewriting of single expressions: no list, set, text, equation, matrix or unit."""
    plain = r"[^,=<>{}]*(?:\{[^,=<>]*\}[^,=<>]*)*"
    foreign = ("text", "mbox", ".", "in", "begin", "^\\circ", "%", "$", "_", "cup", "pm", "infty", ":")
    return lambda gold: make(gold) if re.fullmatch(plain, gold) and not any(f in gold for f in foreign) else None


def terminating(sign: str, above: int, below: int) -> str | None:
    return f"{sign}{above / below:.10g}" if 10**8 % below == 0 else None


EQUIVALENT: dict[str, Rewriting] = {
    "1,234": number(lambda n: f"{n:,}"),
    "1234.0": number(lambda n: f"{n}.0"),
    "\\frac{2n}{2}": number(lambda n: f"\\frac{{{2 * n}}}{{2}}"),
    "n \\text{ apples}": number(lambda n: f"{n} \\text{{ apples}}"),
    "x = n": number(lambda n: f"x = {n}"),
    "a/b": fraction(lambda s, a, b: f"{s}{a}/{b}"),
    "\\frac{3a}{3b}": fraction(lambda s, a, b: f"{s}\\frac{{{3 * a}}}{{{3 * b}}}"),
    "decimal of a/b": fraction(terminating),
    "set backwards": listed(lambda o, m, c: f"{o}{', '.join(m[::-1])}{c}" if o in ("", "\\{") else None),
    "\\left( \\right)": listed(lambda o, m, c: f"\\left{o} {' , '.join(m)} \\right{c}" if o else None),
    "e + 0": expression(lambda e: f"{e} + 0"),
    "2 * (e) / 2": expression(lambda e: f"\\frac{{2 \\cdot ({e})}}{{2}}"),
    "-(-(e))": expression(lambda e: f"-(-({e}))"),
}
DIFFERENT: dict[str, Rewriting] = {
    "n + 1": number(lambda n: str(n + 1)),
    "-n": number(lambda n: str(-n)),
    "n + 0.001": number(lambda n: f"{n}.001"),
    "n + 10^{-40}": number(lambda n: f"{n} + 10^{{-40}}"),
    "a/b upside down": fraction(lambda s, a, b: f"{s}\\frac{{{b}}}{{{a}}}" if a != b else None),
    "rounded a/b": fraction(lambda s, a, b: f"{s}{a / b:.3f}" if 1000 * a % b else None),
    "pair backwards": listed(lambda o, m, c: f"{o}{', '.join(m[::-1])}{c}" if o == "(" and m != m[::-1] else None),
    "other bracket": listed(lambda o, m, c: f"[{', '.join(m)}{c}" if o == "(" and "\\infty" not in m[0] else None),
    "one member less": listed(lambda o, m, c: f"{o}{', '.join(m[1:])}{c}"),
    "e + 1": expression(lambda e: f"{e} + 1"),
    "1.001 e": expression(lambda e: f"1.001({e})" if e != "0" else f"{e}.1"),
    "(1 + 10^{-30}) e": expression(lambda e: f"(1 + 10^{{-30}})({e})" if e != "0" else "10^{-30}"),
}


def gold_answers(path: Path) -> list[str]:
    answers = [json.loads(line)["answer"] for line in path.open(encoding="utf-8")]
    texts = [str(answer).rpartition("####")[2].strip() for answer in answers]
    return [text.removesuffix(".0").replace("\\!", "").replace("\\$", "") for text in texts]


def math_verify_alone(answer: str, gold: str) -> bool:
    return verify(parse(f"${gold}$"), parse(f"${answer}$"))


def judge(reward: MathReward, pairs: list[tuple[str, str]]) -> list[bool]:
    return [score == 1 for score in reward.score([f"\\boxed{{{a}}}" for a, _ in pairs], [g for _, g in pairs])]


def report(name: str, pairs: list[tuple[str, str]], wanted: bool, reward: MathReward, shown: int) -> None:
    """Print a row of the table, and the pairs that count as wrong."""
    verdicts = judge(reward, pairs)
    wrong = [pair for pair, verdict in zip(pairs, verdicts, strict=True) if verdict != wanted]
    alone = sum(math_verify_alone(*pair) != wanted for pair in pairs)
    print(f"| {name} | {len(pairs)} | {len(wrong)} | {alone} |", flush=True)
    for answer, gold in wrong[:shown]:
        print(f"    gold {gold!r}, answer {answer!r}")


def rewritten(golds: list[str], rewriting: Rewriting) -> list[tuple[str, str]]:
    return [(answer, gold) for gold in golds if (answer := rewriting(gold)) is not None]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("files", nargs="+", type=Path)
    parser.add_argument("--show", type=int, default=3, help="wrong verdicts to print of each row")
    arguments = parser.parse_args()
    golds = list(dict.fromkeys(gold for path in arguments.files for gold in gold_answers(path)))
    rng = random.Random(0)
    with MathReward() as reward:
        print(f"{len(golds)} different gold answers\n")
        print("| pairs | number | wrong | wrong, math-verify alone |\n|---|---|---|---|")
        report("itself", [(gold, gold) for gold in golds], True, reward, arguments.show)
        others = [(rng.choice(golds), gold) for gold in golds for _ in range(OTHERS)]
        report("another's", [(a, g) for a, g in others if a != g], False, reward, arguments.show)
        for names, wanted in ((EQUIVALENT, True), (DIFFERENT, False)):
            for name, rewriting in names.items():
                report(
                    f"{'same' if wanted else 'wrong'}: `{name}`",
                    rewritten(golds, rewriting),
                    wanted,
                    reward,
                    arguments.show,
                )
        speed(golds, rng)


def speed(golds: list[str], rng: random.Random) -> None:
    """Print checks per second, for numbers alone (compared without a worker) and for everything else."""
    numbers = [gold for gold in golds if INTEGER.fullmatch(gold)]
    for name, answers in (
        ("integers", numbers),
        ("everything else", [g for g in golds if g not in set(numbers)]),
        ("all", golds),
    ):
        pairs = {(a, g) for g in answers for a in (g, f"{g} + 0", *rng.sample(answers, min(4, len(answers))))}
        with MathReward() as reward:  # none of these pairs is known to it
            began = time.perf_counter()
            judge(reward, sorted(pairs))
            seconds = time.perf_counter() - began
        print(f"{name}: {len(pairs) / seconds:.0f} checks a second ({len(pairs)} different pairs, {seconds:.1f} s)")


if __name__ == "__main__":
    main()
