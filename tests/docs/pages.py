"""What a page of docs/ tells to type, and a way to do it."""

import csv
import os
import re
import runpy
import shlex
import sys
from multiprocessing import get_context
from pathlib import Path
from typing import NoReturn

from conftest import ENVIRONMENT, ROOT

PYTHON, CONSOLE = ".venv/bin/python ", ".venv/bin/gmpo "
FEW_SUMS = "data.dataset.train_size=64"  # of data=arithmetic
WORKERS = get_context("forkserver")  # with everything imported: a fork of it begins in no time
WORKERS.set_forkserver_preload(
    ["gmpo.training", "gmpo.evaluation.command", "gmpo.rollout.transformers", "torch.utils.tensorboard"]
)


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
    # told from here: what conftest finds there is what other tests have made of this process's own by then
    environment = ENVIRONMENT | {"OMP_NUM_THREADS": "1", "COLUMNS": "160", "MPLBACKEND": "agg"}
    process = WORKERS.Process(target=_run, args=(folder, environment, paths, script, [*arguments, *sizes], log))
    process.start()
    process.join(120)
    assert process.exitcode == 0, log.read_text()[-3000:]
    return log.read_text()


def _run(
    folder: Path, environment: dict[str, str], paths: list[str], script: str, arguments: list[str], log: Path
) -> NoReturn:
    output = os.open(log, os.O_CREAT | os.O_WRONLY)
    for stream in (1, 2):
        os.dup2(output, stream)
    os.environ.clear()
    os.environ.update(environment)
    os.chdir(folder)
    sys.path[:0] = [str(folder / path) for path in paths]
    sys.argv = [str(ROOT / script), *arguments]
    runpy.run_path(sys.argv[0], run_name="__main__")
    sys.exit(0)


def rows(folder: Path) -> list[dict[str, float]]:
    """Of a run's metrics.csv, what there is a value of."""
    with (folder / "metrics.csv").open() as file:
        return [{name: float(value) for name, value in row.items() if value} for row in csv.DictReader(file)]
