"""What a page of docs/ tells to type, and a way to do it."""

import csv
import re
import shlex
from pathlib import Path

import forked
from conftest import ROOT

PYTHON, CONSOLE = ".venv/bin/python ", ".venv/bin/gmpo "
FEW_SUMS = "data.dataset.train_size=64"  # of data=arithmetic


def blocks(page: str) -> list[tuple[str, str]]:
    """Language and text of each block of code; of commands over several lines, one."""
    text = re.sub(r"\\\n *", "", (ROOT / "docs" / page).read_text())
    return re.findall(r"^```(\w*)\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)


def files(page: str) -> dict[str, str]:
    """Of the blocks in a language, which begin with a comment that names their file."""
    return {text.splitlines()[0].removeprefix("# "): text for language, text in blocks(page) if language}


def commands(page: str) -> list[str]:
    """The lines of the other blocks that call the project's Python."""
    return [
        line
        for language, text in blocks(page)
        if not language
        for line in text.splitlines()
        if PYTHON in line or CONSOLE in line
    ]


def words(command: str) -> list[str]:
    """The script and its arguments; of the console script its file, which takes the command as the first."""
    if CONSOLE in command:
        return ["src/gmpo/cli/main.py", *shlex.split(command.partition(CONSOLE)[2])]
    return shlex.split(command.partition(PYTHON)[2])


def run(folder: Path, command: str, *sizes: str) -> str:
    """A command in a folder, PYTHONPATH=mine where it begins so, with further arguments; returns what it said."""
    log = folder / f"output-{len(list(folder.glob('output-*')))}"
    script, *arguments = words(command)
    before = command.partition(PYTHON)[0]
    paths = before.removeprefix("PYTHONPATH=").split() if before.startswith("PYTHONPATH=") else []
    environment = {"OMP_NUM_THREADS": "1", "COLUMNS": "160", "MPLBACKEND": "agg"}
    process = forked.start([script, *arguments, *sizes], log, None, folder, environment, paths)
    process.join(120)
    assert process.exitcode == 0, log.read_text()[-3000:]
    return log.read_text()


def rows(folder: Path) -> list[dict[str, float]]:
    """Of a run's metrics.csv, what there is a value of."""
    with (folder / "metrics.csv").open() as file:
        return [{name: float(value) for name, value in row.items() if value} for row in csv.DictReader(file)]
