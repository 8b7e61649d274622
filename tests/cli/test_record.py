"""What people read of a run's responses."""

import json
from pathlib import Path

import pytest

from gmpo.cli.responses import LONGEST, choose, print_responses, shortened

ROW = {
    "rollout_step": 1,
    "prompt": "1+1",
    "answer": "2",
    "response": "r",
    "reward": 0.0,
    "tokens": 3,
    "truncated": False,
}


def run_folder(folder: Path, *changes: dict[str, object]) -> str:
    (folder / "rollouts").mkdir()
    lines = [json.dumps(ROW | change) + "\n" for change in changes]
    (folder / "rollouts" / "train.jsonl").write_text("".join(lines))
    return str(folder)


def test_best_worst_and_truncated_the_newest_first() -> None:
    rows = [
        ROW | {"reward": reward, "truncated": cut}
        for reward, cut in [(1, False), (0.5, False), (0, True), (0, False), (1, False)]
    ]
    numbered = [row | {"number": number} for number, row in enumerate(rows)]
    chosen = {kind: [row["number"] for row in own] for kind, own in choose(numbered, 2).items()}
    assert chosen == {"best": [4, 0], "worst": [3, 1], "truncated": [2]}


def test_it_prints_the_last_step(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = run_folder(
        tmp_path, {"response": "early", "reward": 1.0}, {"rollout_step": 2, "response": "[bold]late[/bold]"}
    )
    print_responses(folder, "train", 3, "last")
    said = capsys.readouterr().out
    assert "[bold]late[/bold]" in said
    assert "early" not in said
    print_responses(folder, "train", 3, 1)
    assert "early" in capsys.readouterr().out


def test_a_line_that_was_cut_off_is_left_out(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = run_folder(tmp_path, {"response": "whole"})
    with (tmp_path / "rollouts" / "train.jsonl").open("a") as file:
        file.write('{"rollout_step": 3, "resp')
    print_responses(folder, "train", 1)
    assert "whole" in capsys.readouterr().out


def test_a_long_response_keeps_its_ends() -> None:
    text = "a" * LONGEST + "b" * LONGEST
    short = shortened(text)
    assert short.startswith("a")
    assert short.endswith("b")
    assert f"{LONGEST} characters left out" in short
    assert shortened("short") == "short"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("nowhere", "train", 3, None), "run=nowhere holds no responses"),
        (("RUN", "test", 3, None), "file=test must be train or validation"),
        (("RUN", "train", 0, None), "count=0"),
        (("RUN", "train", 3, 9), "no response of step=9"),
        (("RUN", "validation", 3, None), "rollouts/validation.jsonl"),
    ],
)
def test_bad_input(tmp_path: Path, arguments: tuple[str, str, int, int | None], said: str) -> None:
    folder, *others = arguments
    run = run_folder(tmp_path, {})
    with pytest.raises(ValueError, match=said):
        print_responses(run if folder == "RUN" else folder, *others)
