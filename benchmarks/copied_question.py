"""Measure what a policy earns by copying: `python benchmarks/copied_question.py MATH.jsonl [AMC.jsonl ...]`.

Each file holds problems (column "problem" or "question") with their gold answers (column "answer"; GSM8K's after ####).
The policy boxes the last formula of the question; then, for each question, the formula that scores best. Both are
scored as in training (reward.worked_out=true) and as in evaluation. docs/verifier.md has the table.
"""

import argparse
import json
import re
from pathlib import Path

from gmpo.rewards import MathReward

FORMULA = re.compile(r"\$\$(.+?)\$\$|\$(.+?)\$|\\\[(.+?)\\\]|\\\((.+?)\\\)", re.DOTALL)
DRAWING = re.compile(r"\[asy\].*?\[/asy\]", re.DOTALL)


def questions(path: Path) -> list[tuple[list[str], str]]:
    """Return the formulas of each question, and its gold answer."""
    rows = [json.loads(line) for line in path.open(encoding="utf-8")]
    return [
        (formulas(row.get("problem") or row["question"]), str(row["answer"]).rpartition("####")[2].strip())
        for row in rows
    ]


def formulas(question: str) -> list[str]:
    found = FORMULA.finditer(DRAWING.sub("", question))
    return [next(group for group in match.groups() if group) for match in found]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("files", nargs="+", type=Path)
    parser.add_argument("--show", action="store_true", help="print answers that score in training")
    arguments = parser.parse_args()
    print("| file | problems | last formula, training | evaluation | best formula, training | evaluation |")
    print("|---|---|---|---|---|---|", flush=True)
    with MathReward(worked_out=True) as reward:
        for path in arguments.files:
            row, shown = [], []
            asked = questions(path)
            pairs = [(place, formula, gold) for place, (own, gold) in enumerate(asked) for formula in own]
            last = {(place, own[-1]) for place, (own, _) in enumerate(asked) if own}
            for judge in (reward, reward.verifier):
                found = judge.score([f"\\boxed{{{formula}}}" for _, formula, _ in pairs], [gold for *_, gold in pairs])
                right = [pair for pair, score in zip(pairs, found, strict=True) if score == 1]
                row.append((len({p[0] for p in right if p[:2] in last}), len({p[0] for p in right})))
                shown = shown or [pair for pair in right if pair[:2] in last]
            (strict_last, strict_best), (last_right, best) = row
            print(f"| {path.name} | {len(asked)} | {strict_last} | {last_right} | {strict_best} | {best} |", flush=True)
            for _, formula, gold in shown if arguments.show else []:
                print(f"    gold {gold!r}, answer {formula!r}")


if __name__ == "__main__":
    main()
