"""An evaluation through a real engine: what it writes, and that it goes on where it was cut off."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
from conftest import make_prompt

from gmpo.evaluation.evaluate import Evaluation
from gmpo.rewards import ExactMatch, MathReward, Reward
from gmpo.rollout.transformers import TransformersEngine
from gmpo.types import Prompt, Sampling

SAMPLING = Sampling(max_tokens=8)


class CutOffError(Exception):
    pass


def problems(count: int = 5, benchmark_name: str = "sums") -> list[Prompt]:
    return [replace(make_prompt(f"{n}+{n}", n, str(2 * n)), benchmark_name=benchmark_name) for n in range(count)]


def evaluation(model: str, folder: Path, reward: Reward | None = None, **changes: object) -> Evaluation:
    folder.mkdir(parents=True, exist_ok=True)
    engine = TransformersEngine(model, "float32", max_num_seqs=4)
    made = Evaluation(engine, reward or ExactMatch(), problems(), SAMPLING, samples=3, seed=0, folder=folder)
    return replace(made, **changes)  # type: ignore[arg-type]


def rows(folder: Path) -> list[dict[str, object]]:
    return [json.loads(line) for line in (folder / "responses.jsonl").read_text().splitlines()]


def in_order(folder: Path) -> list[str]:
    return sorted(map(str, rows(folder)))


def test_it_writes_every_response_and_the_results(qwen2_folder: str, tmp_path: Path) -> None:
    mixed = problems() + problems(3, "more")
    results = evaluation(qwen2_folder, tmp_path, prompts=mixed, pass_k=[1, 2]).run()
    names = ["problems", "mean@3", "pass@1", "pass@2", "pass@3", "maj@3", "truncated_fraction", "response_length"]
    assert {name: list(own) for name, own in results.items()} == {"sums": names, "more": names}
    assert (results["sums"]["problems"], results["more"]["problems"]) == (5, 3)
    assert json.loads((tmp_path / "results.json").read_text()) == results
    written = rows(tmp_path)
    assert len(written) == 8 * 3
    own = [row for row in written if row["benchmark"] == "sums"]
    assert results["sums"]["mean@3"] == pytest.approx(sum(row["reward"] for row in own) / 15)  # type: ignore[misc]
    assert results["sums"]["response_length"] == pytest.approx(sum(row["tokens"] for row in own) / 15)  # type: ignore[misc]
    assert {row["question"]: row["answer"] for row in own} == {p.question: p.answer for p in problems()}
    assert len({row["response"] for row in own}) > 5, "responses to one problem differ"


@pytest.mark.parametrize("after", [1, 7, 14])
def test_cut_off_and_started_again_it_ends_as_if_it_had_not_been(qwen2_folder: str, tmp_path: Path, after: int) -> None:
    expected = evaluation(qwen2_folder, tmp_path / "whole").run()

    def cut_off(made: int, of: int) -> None:
        assert of == 15
        if made == after:
            raise CutOffError

    with pytest.raises(CutOffError):
        evaluation(qwen2_folder, tmp_path / "cut", on_progress=cut_off).run()
    before = (tmp_path / "cut" / "responses.jsonl").read_bytes()
    assert before.count(b"\n") == after
    counted: list[tuple[int, int]] = []
    results = evaluation(qwen2_folder, tmp_path / "cut", on_progress=lambda *n: counted.append(n)).run()
    assert counted == [(n, 15) for n in range(after + 1, 16)]
    assert (tmp_path / "cut" / "responses.jsonl").read_bytes().startswith(before)
    assert in_order(tmp_path / "cut") == in_order(tmp_path / "whole")
    assert results == expected


def test_a_line_that_was_cut_off_is_made_again(qwen2_folder: str, tmp_path: Path) -> None:
    expected = evaluation(qwen2_folder, tmp_path).run()
    file = tmp_path / "responses.jsonl"
    whole = in_order(tmp_path)
    file.write_bytes(file.read_bytes()[:-20])
    assert evaluation(qwen2_folder, tmp_path).run() == expected
    assert in_order(tmp_path) == whole


def test_what_is_finished_starts_no_engine(qwen2_folder: str, tmp_path: Path) -> None:
    expected = evaluation(qwen2_folder, tmp_path).run()
    assert evaluation("no model at all", tmp_path).run() == expected


def test_more_samples_go_on_from_fewer(qwen2_folder: str, tmp_path: Path) -> None:
    evaluation(qwen2_folder, tmp_path, samples=2).run()
    counted: list[int] = []
    evaluation(qwen2_folder, tmp_path, on_progress=lambda made, of: counted.append(made)).run()
    assert counted == [11, 12, 13, 14, 15]
    evaluation(qwen2_folder, tmp_path / "at once").run()
    assert in_order(tmp_path) == in_order(tmp_path / "at once")


def test_a_problem_that_changed_is_answered_anew(qwen2_folder: str, tmp_path: Path) -> None:
    evaluation(qwen2_folder, tmp_path).run()
    corrected = [replace(prompt, answer="7") if prompt.index == 2 else prompt for prompt in problems()]
    evaluation(qwen2_folder, tmp_path, prompts=corrected).run()
    assert len(rows(tmp_path)) == 15 + 3


def test_answers_are_scored_by_the_verifier_while_others_are_generated(qwen2_folder: str, tmp_path: Path) -> None:
    with MathReward(processes=1, last_number=True) as reward:
        results = evaluation(qwen2_folder, tmp_path, reward).run()
    assert results["sums"]["problems"] == 5
    assert {row["final_answer"] for row in rows(tmp_path)} != {""}
