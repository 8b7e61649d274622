"""The process that checks answers: `python -m gmpo.verifier.server PROCESSES TIMEOUT GIB [worked_out]`.

It keeps a pool of worker processes, and replaces a worker whose check exceeds its deadline. It reads checks from
standard input, a JSON line [number, answer, gold answer] each, and writes [number, outcome] as each is done, after the
line "ready".
It is a process of its own because workers are forked: here nothing else has threads, a GPU or much memory. It ends,
with its workers, when its input or its parent process ends.
"""

import json
import os
import select
import sys
from concurrent.futures import Future, TimeoutError
from functools import partial

from gmpo.run.signals import TIME_IS_UP, leave_to_trainer
from gmpo.verifier.client import READY
from gmpo.verifier.equivalence import equivalent
from gmpo.verifier.notation import ParsedAnswer, parse_answer
from gmpo.verifier.process_pool import silence, start_pool
from gmpo.verifier.worked_out import worked_out

LOOK_FOR_PARENT_EVERY = 1.0  # seconds
TYPICAL = (
    *("-\\frac{3}{4}\\sqrt{2}", "(3,\\frac{\\pi}{2})", "(-\\infty,2]\\cup[3,5)", "\\{1,2\\}", "1,-2", "3+4i", "x=5"),
    *("x^2-2x+1", "\\begin{pmatrix}1\\\\2\\end{pmatrix}", "1\\pm\\sqrt[3]{5}", "\\sin x\\cos(2x)", "\\text{east}"),
    *("x\\ge 2", "2^{10}", "\\log_2 8", "\\binom{5}{2}", "5!", "90^\\circ", "\\frac{n(n+1)}{2}", "e^{i\\pi}", "-1.5x"),
)


def check(answer: str, gold: str, strictly: bool = False) -> str:
    """Check one answer, in a worker: right, wrong or unreadable.

    strictly: a right answer that `worked_out` refuses is "not worked out".
    """
    try:
        pair = parse_answer(answer), parse_answer(gold)
        if not equivalent(*pair):
            return "wrong"
    except MemoryError:
        os._exit(1)  # memory is not returned: another worker takes over
    except Exception:  # noqa: BLE001
        return "unreadable"  # a parser may raise anything, even errors that cannot be pickled
    return "not worked out" if strictly and not seems_worked_out(*pair) else "right"


def seems_worked_out(answer: ParsedAnswer, gold: ParsedAnswer) -> bool:
    """Return whether a right answer is worked out; also true where that cannot be decided."""
    try:
        return worked_out(answer, gold)
    except Exception:  # noqa: BLE001
        return True


def outcome(done: Future[str]) -> str:
    """Return right, wrong or not worked out, or the reason for no verdict: timeout, died, unreadable."""
    try:
        return done.result()
    except TimeoutError:
        return "timeout"
    except Exception:  # noqa: BLE001
        return "died"  # whatever happened to the worker, its check is answered


def write_outcome(output: int, number: int, done: Future[str]) -> None:
    """Write one outcome in a single call, because the pool's threads share the output."""
    os.write(output, f"[{number}, {json.dumps(outcome(done))}]\n".encode())


def serve(processes: int, timeout: float, memory: int, strictly: bool) -> None:
    """Check until the input ends."""
    leave_to_trainer(TIME_IS_UP)
    parent, output = os.getppid(), os.dup(1)
    warm_up(strictly)
    pool = start_pool(processes, memory, "fork")
    os.write(output, READY)
    silence()
    unfinished = b""
    try:
        while os.getppid() == parent:
            if not select.select([0], [], [], LOOK_FOR_PARENT_EVERY)[0]:
                continue
            received = os.read(0, 1 << 16)
            if not received:
                break
            *lines, unfinished = (unfinished + received).split(b"\n")
            for number, answer, gold in map(json.loads, lines):
                future = pool.schedule(check, args=(answer, gold, strictly), timeout=timeout)
                future.add_done_callback(partial(write_outcome, output, number))
    finally:
        pool.stop()
        pool.join()


def warm_up(strictly: bool) -> None:
    """Build the parser's tables once, before workers are forked, instead of once in each."""
    for text in TYPICAL:
        check(text, text + "+0", strictly)


if __name__ == "__main__":
    serve(int(sys.argv[1]), float(sys.argv[2]), int(float(sys.argv[3]) * 2**30), "worked_out" in sys.argv[4:])
