"""Figures, goals and files of the suite; no benchmark is run, and no time is asserted."""

import json
from pathlib import Path

import pytest
import suite
from against_trl import half_zero_advantage_name, of_sides
from bound import excess
from growth import Exponents, X, exponents, slope
from growth_points import Point
from report import GOALS, Goal, latest, markdown, rows, table
from results import hand_on, write_whole

NAMES = {
    *("step_over_bound_1m", "step_over_bound_10m", "trl_over_ours_1m", "trl_over_ours_10m"),
    *("trl_over_ours_half_zero_advantage", "head_peak_copies", "head_time_over_plain", "zero_advantage_update_ratio"),
}


def test_every_ratio_has_a_goal() -> None:
    assert {goal.ratio for goal in GOALS} >= NAMES
    assert half_zero_advantage_name("1m") == "trl_over_ours_half_zero_advantage"
    assert half_zero_advantage_name("10m") == "trl_over_ours_half_zero_advantage_10m"


def test_a_goal_is_met_at_its_bound() -> None:
    most, least = Goal("a", "", 1.1, at_most=True), Goal("b", "", 1.2, at_most=False)
    assert [most.met(1.1), most.met(1.11), least.met(1.2), least.met(1.19)] == [True, False, True, False]
    assert [str(most), str(least)] == ["≤ 1.1", "≥ 1.2"]


def test_rows_say_what_is_met_missed_and_not_measured() -> None:
    goals = [Goal("a", "x", 1.1, at_most=True), Goal("b", "y", 1.2, at_most=False), Goal("c", "z", 1, at_most=True)]
    assert [row[2:] for row in rows({"a": 1.05, "b": 1.0}, goals)] == [
        ("1.050", "≤ 1.1", "met"),
        ("1.000", "≥ 1.2", "missed"),
        ("", "≤ 1", "not measured"),
    ]
    assert len({len(line) for line in table({"a": 1.05}, goals).splitlines()}) == 1
    assert "| x (`a`) | 1.050 | ≤ 1.1 | met |" in markdown({"a": 1.05}, goals).splitlines()


def test_latest_has_ratios_on_top_and_figures_beside_them() -> None:
    parts = {"one": {"ratios": {"a": 1.0}, "raw": {"x": 1}}, "two": {"ratios": {"b": 2.0}, "raw": {"y": [2]}}}
    whole = latest(parts, ["three"], {"cores": 2})
    assert whole["a"] == 1.0
    assert whole["b"] == 2.0
    assert whole["raw"] == {"one": {"x": 1}, "two": {"y": [2]}}
    assert whole["failed"] == ["three"]


def test_a_file_is_replaced_as_a_whole(tmp_path: Path) -> None:
    file = tmp_path / "results" / "latest.json"
    write_whole(file, {"a": 1})
    with pytest.raises(TypeError):
        write_whole(file, {"a": object()})
    assert json.loads(file.read_text()) == {"a": 1}
    assert list(file.parent.iterdir()) == [file]
    hand_on(None, {"a": 1}, {})


def test_parts_that_fail_leave_the_others(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(suite, "HERE", tmp_path)
    (tmp_path / "good.py").write_text(
        "import json, sys\nwith open(sys.argv[2], 'w') as f:\n    json.dump({'ratios': {'a': 1.5}, 'raw': {}}, f)\n"
    )
    (tmp_path / "bad.py").write_text("raise SystemExit(3)\n")
    found, failed = suite.run({"bad": ["bad.py"], "missing": ["none.py"], "good": ["good.py"]}, {})
    assert failed == ["bad", "missing"]
    assert found["good"]["ratios"] == {"a": 1.5}
    assert found["good"]["raw"]["seconds"] > 0


def test_every_part_is_a_script_or_is_to_come() -> None:
    scripts = {script for script, *_ in [*suite.PARTS.values(), *suite.GPU_PARTS.values()]}
    assert {script for script in scripts if not (suite.HERE / script).is_file()} <= {"head.py"}


def test_the_ratio_of_sides_is_the_median_over_turns() -> None:
    reports = {
        "ours": [{"seconds": s, "tokens": 10} for s in (1.0, 2.0, 4.0)],
        "trl": [{"seconds": s, "tokens": 12} for s in (1.5, 2.0, 8.0)],
    }
    found = of_sides(reports)
    assert (found["ratio"], found["least"], found["most"]) == (1.5, 1.0, 2.0)
    assert (found["ours"], found["trl"], found["ours_tokens"], found["trl_tokens"]) == (2.0, 2.0, 10, 12)


def test_the_excess_of_a_step_is_all_that_is_beyond_the_bound() -> None:
    medians = {
        **{"weight_sync": 0.1, "generate": 2.5, "reward": 0.0, "exchange": 0.1, "log_probs": 0.5, "update": 3.0},
        **{"other": 0.2, "raw_generate": 2.0, "raw_forward_backward": 2.4, "raw_optimizer": 0.1},
    }
    found = excess(medians)
    assert found["generate"] == pytest.approx(0.5)
    assert found["update"] == pytest.approx(0.5)
    assert sum(found.values()) == pytest.approx(6.4 - 4.5)


def test_exponents() -> None:
    assert slope([1, 2, 4], [3, 12, 48]) == pytest.approx(2)
    points = [Point(group=n) for n in (4, 8, 16)]
    seconds = {point: {"update": 0.5 * point.group} for point in points}
    found = exponents(X["group size"], points, seconds, "update")
    assert found == Exponents(pytest.approx(1.0), pytest.approx(1.0), [2.0, 4.0, 8.0])


def test_work_of_a_point_is_that_of_its_model() -> None:
    short, long = Point(response=8), Point(response=4096)
    assert Point(vocabulary=65536).parameters > Point().parameters
    assert long.work / short.work > (12 + 4096) / (12 + 8)  # attention adds to what each token costs
