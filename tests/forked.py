"""The project's scripts in real processes that begin at once: forks of a server that has imported everything.

Torch, transformers, Lightning and vLLM take 5 to 9 seconds of a processor to import, as long as many a run takes.
"""

import atexit
import ctypes
import os
import runpy
import socket
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from importlib.util import find_spec
from multiprocessing import get_context
from multiprocessing.process import BaseProcess
from pathlib import Path
from tempfile import TemporaryDirectory

from conftest import ENVIRONMENT, ROOT

SERVER = get_context("forkserver")
SERVER.set_forkserver_preload(
    [
        *("gmpo.training", "gmpo.evaluation.command", "gmpo.rollout.transformers", "torch.utils.tensorboard"),
        *(["gmpo.rollout.vllm", "vllm.v1.engine.llm_engine"] if find_spec("vllm") else []),
    ]
)
USUAL = {"OMP_NUM_THREADS": "1", "COLUMNS": "120"}


def start(
    command: Sequence[str],
    stdout: Path,
    stderr: Path | None = None,
    folder: Path = ROOT,
    environment: Mapping[str, str] = USUAL,
    paths: Sequence[str] = (),
    umask: int = 0o022,
) -> BaseProcess:
    """Start a script with its arguments in a session of its own.

    stderr: None: with stdout. environment: on top of the tests'. paths: those of PYTHONPATH.
    """
    given = {**ENVIRONMENT, **environment} | ({"PYTHONPATH": os.pathsep.join(paths)} if paths else {})
    process = SERVER.Process(target=_run, args=(list(command), stdout, stderr, folder, given, [*paths], umask))
    process.start()
    return process


def run(
    *command: str,
    folder: Path = ROOT,
    environment: Mapping[str, str] = USUAL,
    paths: Sequence[str] = (),
    ranks: int | None = None,
    timeout: float = 900,
) -> subprocess.CompletedProcess[str]:
    """Run a script to its end and return what it printed, of several ranks the first one's.

    ranks: so many processes with the variables that torchrun sets; None: one that nothing has launched.
    """
    with TemporaryDirectory() as temporary:
        logs = [(Path(temporary, f"stdout-{rank}"), Path(temporary, f"stderr-{rank}")) for rank in range(ranks or 1)]
        launched: list[dict[str, str]] = [{}] if ranks is None else torchrun(ranks)
        processes = [
            start(command, *log, folder, {**environment, **variables}, paths)
            for log, variables in zip(logs, launched, strict=True)
        ]
        end = time.monotonic() + timeout
        while any(process.exitcode is None for process in processes) and time.monotonic() < end:
            if any(process.exitcode for process in processes):  # the others wait for it in vain
                end = min(end, time.monotonic() + 20)
            time.sleep(0.02)
        codes = [process.exitcode for process in processes]
        for process in processes:
            process.kill()
            process.join()
        stdout, stderr = (path.read_text() for path in logs[0])
        assert None not in codes or any(codes), f"not at an end after {timeout} s:\n{stderr[-3000:]}"
        failed = [code for code in codes if code]
        return subprocess.CompletedProcess(command, failed[0] if failed else 0, stdout, stderr)


def torchrun(ranks: int) -> list[dict[str, str]]:
    """The variables of each rank on one node."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    shared = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "TORCHELASTIC_RUN_ID": str(port)}
    shared |= {"WORLD_SIZE": str(ranks), "LOCAL_WORLD_SIZE": str(ranks), "GROUP_RANK": "0"}
    return [shared | {"RANK": str(rank), "LOCAL_RANK": str(rank)} for rank in range(ranks)]


def _run(
    command: list[str],
    stdout: Path,
    stderr: Path | None,
    folder: Path,
    environment: dict[str, str],
    paths: list[str],
    umask: int,
) -> None:
    os.setsid()
    os.umask(umask)  # the fork server keeps that of the test which started it
    for stream, path in ((1, stdout), (2, stderr or stdout)):
        os.dup2(os.open(path, os.O_CREAT | os.O_WRONLY | os.O_APPEND), stream)
    os.environ.clear()
    os.environ.update(environment)
    os.chdir(folder)
    sys.path[:0] = [str(folder / path) for path in paths]
    sys.argv = [str(ROOT / command[0]), *command[1:]]
    code = 0
    try:
        runpy.run_path(sys.argv[0], run_name="__main__")
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else int(end.code is not None)
        if isinstance(end.code, str):
            print(end.code, file=sys.stderr)
    # as an interpreter ends, not as multiprocessing's children do: vLLM's shared memory would stay behind
    atexit._run_exitfuncs()
    sys.stdout.flush()
    sys.stderr.flush()
    ctypes.PyDLL(None).exit(code)  # with the interpreter's lock: objects of Python are freed, too
