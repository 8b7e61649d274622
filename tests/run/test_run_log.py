"""The log of a run holds what the screen shows."""

import io
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from rich.console import Console
from rich.progress import Progress

from gmpo.cli.command import BestEffortStream, recorded, tolerate_closed_output, unrecorded
from gmpo.run import signals
from gmpo.run.log import RUN_LOG


@pytest.fixture(autouse=True)
def log_is_closed() -> Iterator[None]:
    yield
    RUN_LOG.close()


def begin(monkeypatch: pytest.MonkeyPatch) -> io.StringIO:
    """A process of its own screen; within a test, as pytest puts its own stream in place when one begins."""
    shown = io.StringIO()
    monkeypatch.setattr(sys, "stdout", shown)
    monkeypatch.setattr(sys, "stderr", shown)
    monkeypatch.setattr(signals, "LAST_WORDS", [])
    monkeypatch.setattr("gmpo.cli.command.LAST_WORDS", signals.LAST_WORDS)
    tolerate_closed_output()
    return shown


def test_what_was_shown_before_the_folder_was_known_is_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    screen = begin(monkeypatch)
    print("resuming")
    RUN_LOG.open(tmp_path, ["python", "train.py", "run.name=a b"])
    print("step 1", file=sys.stderr)
    head, *lines = (tmp_path / "log.txt").read_text().splitlines()
    assert head.endswith("python train.py 'run.name=a b'")
    assert lines == ["resuming", "step 1"] == screen.getvalue().splitlines()


def test_a_resumed_run_appends_and_a_second_job_has_a_log_of_its_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    screen = begin(monkeypatch)
    for number, folder in enumerate(("a", "a", "b")):
        tolerate_closed_output()
        (tmp_path / folder).mkdir(exist_ok=True)
        print(f"begin {number}")
        RUN_LOG.open(tmp_path / folder, ["train.py"])
        print(f"end {number}")
    lines = [line for line in (tmp_path / "a" / "log.txt").read_text().splitlines() if not line.startswith("---")]
    assert lines == ["begin 0", "end 0", "begin 1", "end 1"]
    assert "begin 2\nend 2\n" in (tmp_path / "b" / "log.txt").read_text()
    assert screen.getvalue().count("begin 1") == 1, "streams are wrapped once"


def test_secrets_are_not_recorded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    begin(monkeypatch)
    monkeypatch.setenv("WANDB_API_KEY", "0123456789abcdef")
    RUN_LOG.open(tmp_path, ["train.py"])
    print("the key is 0123456789abcdef")
    assert "0123456789" not in (tmp_path / "log.txt").read_text()
    assert "${oc.env:WANDB_API_KEY}" in (tmp_path / "log.txt").read_text()


def test_what_is_said_beside_a_live_bar_is_recorded_and_the_bar_is_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    screen = begin(monkeypatch)
    RUN_LOG.open(tmp_path, ["train.py"])
    assert isinstance(sys.stdout, BestEffortStream)
    bar = Progress(console=Console(file=unrecorded(sys.stdout), force_terminal=True))
    bar.add_task("the bar")
    bar.start()
    sys.stdout, sys.stderr = recorded(sys.stdout), recorded(sys.stderr)
    print("a warning", file=sys.stderr)
    bar.stop()
    print("a table")
    assert (tmp_path / "log.txt").read_text().splitlines()[1:] == ["a warning", "a table"]
    assert all(text in screen.getvalue() for text in ("the bar", "a warning", "a table"))


def test_a_full_disk_costs_the_log_and_nothing_else(monkeypatch: pytest.MonkeyPatch) -> None:
    screen = begin(monkeypatch)
    RUN_LOG.open(Path("/dev/null/no-folder"), ["train.py"])
    print("step 1")
    RUN_LOG.begin()
    RUN_LOG._file = open("/dev/full", "w")  # noqa: SIM115  (it fails where it is closed, too)
    print("step 2")
    RUN_LOG.close()
    assert screen.getvalue() == "step 1\nstep 2\n"
