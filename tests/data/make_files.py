"""Write tests/data/files/: invented problems in the columns and habits of the published data sets.

    .venv/bin/python tests/data/make_files.py

GSM8K's steps, calculator marks and "#### 1,250"; MATH's LaTeX; AIME's leading zeros; AMC's floats; DAPO-Math-17k's
wrapping and repetitions; a system prompt in verl's rows.
"""

import json
import random
from pathlib import Path

import pyarrow
import pyarrow.parquet

FILES = Path(__file__).with_name("files")
Row = dict[str, object]
PREFIX = (
    "Solve the following math problem step by step. The last line of your response should be of the form Answer: "
    "$Answer (without quotes) where $Answer is the answer to the problem.\n\n"
)
SUFFIX = '\n\nRemember to put your answer on its own line after "Answer:".'
PEOPLE = ("Ada", "Bruno", "Chioma", "Dilan", "Elif", "Farid", "Greta", "Hana")
THINGS = ("marbles", "stamps", "pears", "seeds", "buttons", "shells", "coins", "cards")


def gsm8k(draw: random.Random, count: int) -> list[Row]:
    rows = []
    for number in range(count):
        person, things = draw.choice(PEOPLE), draw.choice(THINGS)
        boxes, each = draw.randint(2, 9), draw.randint(2, 9)
        total = boxes * each
        given = total - draw.randint(1, min(9, total - 1))
        if number % 8 == 7:  # a thousand and more
            boxes, each, given = 125, 10 * draw.randint(11, 40), 0
            total = boxes * each
        left = total - given
        question = f"{person} fills {boxes} boxes with {each} {things} each and gives {given} {things} away. "
        question += f"How many {things} does {person} keep?"
        steps = f"{person} has {boxes}*{each}=<<{boxes}*{each}={total}>>{total} {things}.\n"
        steps += f"{left:,} are left: {total}-{given}=<<{total}-{given}={left}>>{left}.\n#### {left:,}"
        rows.append({"question": question, "answer": steps})
    return distinct(rows, "question")


def math(draw: random.Random, count: int) -> list[Row]:
    rows = []
    for number in range(count):
        a, b, c = (draw.randint(2, 9) for _ in range(3))
        match number % 6:
            case 0:
                problem, answer = f"What is the remainder when ${a}^{{{b}}}$ is divided by ${c + 2}$?", a**b % (c + 2)
            case 1:
                problem = f"The line through $(0,{b})$ and $(1,{a + b})$ meets the horizontal line $y={a * c + b}$ in "
                problem, answer = problem + "exactly one point $(x,y)$. Find $x$.", c
            case 2:
                problem = f"Let $f(x)=\\frac{{x+{a}}}{{{10 * b + 1}}}$. Write $f(1)$ as a common fraction."
                answer = f"\\frac{{{a + 1}}}{{{10 * b + 1}}}"
            case 3:
                roots = f"x^2-{a + b}x+{a * b}" if a != b else f"(x-{a})^2"
                problem, answer = f"Find the largest real root of \\[{roots}=0.\\]", max(a, b)
            case 4:
                problem = f"A rectangle has sides of ${a}$ and ${b}$ units, and a second rectangle, drawn to the same "
                problem += f"scale, has sides of ${a * c}$ and ${b * c}$ units. Both are cut along a diagonal, and the "
                problem += "four right triangles are laid side by side on a table. By what factor is the longest side "
                problem, answer = problem + "of the larger triangles longer than that of the smaller ones?", c
            case _:
                problem = f"Give the point $({a},{b})$, reflected in the line $y=x$ and then moved up by ${c}$."
                answer = f"\\left( {b}, {a + c} \\right)"
        rows.append({"problem": problem, "answer": str(answer)})
    return distinct(rows, "problem")


def aime(draw: random.Random, count: int) -> list[Row]:
    rows = []
    for _ in range(count):
        a, b = draw.randint(3, 30), draw.randint(5, 30)
        problem = f"How many lattice points $(x,y)$ satisfy $1\\le x\\le {a}$ and $1\\le y\\le {b}$?"
        rows.append({"problem": problem, "answer": f"{a * b:03}"})
    return distinct(rows, "problem")


def amc(draw: random.Random, count: int) -> list[Row]:
    rows = []
    for _ in range(count):
        a, b = draw.randint(2, 20), draw.randint(2, 9)
        problem = f"A cyclist rides ${a}$ km in the first half of an hour and ${b}.5$ km in the second. How many km is "
        rows.append({"problem": problem + "that together?  ", "answer": a + b + 0.5})
        rows.append({"problem": f"What is the perimeter of a square with sides of ${a * b}$?", "answer": 4.0 * a * b})
    return distinct(rows, "problem")


def dapo(problems: list[Row]) -> list[Row]:
    """Each problem three times, the repetitions behind one another as on the hub."""
    rows = [
        {
            "data_source": "math_dapo",
            "prompt": [{"role": "user", "content": f"{PREFIX}{row['problem']}{SUFFIX}"}],
            "ability": "MATH",
            "reward_model": {"ground_truth": row["answer"], "style": "rule-lighteval/MATH_v2"},
            "extra_info": {"index": f"m{number}"},
        }
        for number, row in enumerate(problems)
    ]
    return rows * 3


def verl(problems: list[Row]) -> list[Row]:
    return [
        {
            "data_source": "invented",
            "prompt": [{"role": "system", "content": "Box it."}, {"role": "user", "content": row["problem"]}],
            "ability": "math",
            "reward_model": {"style": "rule", "ground_truth": row["answer"]},
            "extra_info": {"split": "train", "index": number},
        }
        for number, row in enumerate(problems)
    ]


def distinct(rows: list[Row], column: str) -> list[Row]:
    return list({row[column]: row for row in rows}.values())


def write(path: Path, rows: list[Row]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix == ".parquet":
        pyarrow.parquet.write_table(pyarrow.Table.from_pylist(rows), path, compression="zstd")
    else:
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))


if __name__ == "__main__":
    drawn = random.Random(0)
    training = gsm8k(drawn, 48)
    write(FILES / "gsm8k" / "train.jsonl", training)
    write(FILES / "gsm8k" / "test.jsonl", [row for row in gsm8k(drawn, 12) if row not in training])
    problems = math(drawn, 60)
    write(FILES / "math500" / "test.jsonl", problems)
    write(FILES / "aime24" / "test.jsonl", aime(drawn, 8))
    write(FILES / "amc23" / "test.jsonl", amc(drawn, 4))
    write(FILES / "dapo_math_schema" / "train.parquet", dapo(problems))
    write(FILES / "verl" / "train.parquet", verl(problems[:4]))
