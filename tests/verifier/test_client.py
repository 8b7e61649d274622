"""Checks that never end, workers that die, and what is left of them: nothing."""

import os
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from gmpo.rewards import MathReward

pytestmark = pytest.mark.slow  # deadlines are waited for
TIMEOUT = 1.0
BOMBS = {
    "a tower of powers": "9^{9^{9^9}}",
    "a higher tower": "10^{10^{10^{10}}}",
    "a huge factorial": "1000000!",
    "a factorial of factorials": "((((10!)!)!)!)",
    "an endless sum": "\\sum_{k=1}^{\\infty} \\frac{1}{k^{1.0001}}",
    "a long sum": "\\sum_{k=1}^{10^{12}} \\sin(k)",
    "a long product": "\\prod_{k=1}^{10^{10}} (k+1/k)",
    "an integral": "\\int_0^{\\infty} \\sin(x^x) dx",
    "a polynomial of many terms": "(x+1)^{100000}",
    "a huge binomial": "\\binom{10^{9}}{10^8}",
    "a gamma function": "\\Gamma(10^{100})",
    "a logarithm of a huge number": "\\log_{2}(3^{10^{9}})",
}
STRANGE = {
    "nothing": "",
    "two million characters": "x" * 2_000_000,
    "two million digits in a box": f"\\boxed{{{'1' * 2_000_000}}}",
    "NUL": "\\boxed{\x00}",
    "a lone surrogate": "\\boxed{\ud800}",
    "open braces": "{" * 100_000,
    "open boxes": "\\boxed{" * 100_000,
    "open braces in a box": f"\\boxed{{{'{' * 400}{'}' * 400}}}",
    "nested fractions": "\\boxed{" + "\\frac{" * 150 + "1" + "}{2}" * 150 + "}",
    "nested brackets": f"\\boxed{{{'(' * 400}1{')' * 400}}}",
    "nested powers": f"\\boxed{{{'x^{' * 200}2{'}' * 200}}}",
    "nested roots": "\\boxed{" + "\\sqrt{" * 120 + "2" + "}" * 120 + "}",
    "blanks after answer": "answer" + " " * 1_000_000,
    "commas": "Answer: " + "1," * 400,
    "letters": "\\boxed{" + "a b " * 200 + "}",
    "a bell and a null byte": "Answer: \x07\x00\x1b[2J",
}
GOOD = ("\\boxed{\\frac{2}{4}x}", "x/2")  # a check that a worker must do


@pytest.fixture(scope="module")
def reward() -> Iterator[MathReward]:
    with MathReward(timeout=TIMEOUT, processes=1) as reward:
        reward.score([GOOD[0]], [GOOD[1]])
        yield reward


def running(pid: int | None = None) -> list[psutil.Process]:
    """Children of a process, theirs too, that check answers."""
    return [p for p in psutil.Process(pid).children(recursive=True) if "gmpo.verifier.server" in " ".join(p.cmdline())]


def until(condition: object, seconds: float = 5.0) -> bool:
    end = time.monotonic() + seconds
    while not condition() and time.monotonic() < end:  # type: ignore[operator]
        time.sleep(0.02)
    return bool(condition())  # type: ignore[operator]


@pytest.mark.parametrize("bomb", BOMBS)
def test_a_bomb_ends_at_its_deadline_and_the_next_scores_right(reward: MathReward, bomb: str) -> None:
    reward.report()
    began = time.monotonic()
    first = reward.submit(f"\\boxed{{{BOMBS[bomb]}}}", "17x")
    number = len(bomb) + 1  # a check that was not made before
    second = reward.submit(f"\\boxed{{\\frac{{{number}}}{{{2 * number}}}x}}", GOOD[1])
    assert first.result() == 0.0
    assert time.monotonic() - began < TIMEOUT + 1
    assert second.result() == 1.0
    counts = reward.report()
    assert counts["checks_timed_out"] + counts["checks_died"] + counts["checks_unreadable"] <= 1


def test_bombs_together_are_counted(reward: MathReward, caplog: pytest.LogCaptureFixture) -> None:
    reward.report()
    caplog.clear()
    responses = ["\\boxed{9^{9^{9^{8}}}}", "\\boxed{9^{9^{9^{7}}}}", GOOD[0]]
    assert reward.score(responses, ["2", "2", GOOD[1]]) == [0.0, 0.0, 1.0]
    assert reward.report()["checks_timed_out"] == 2
    assert "2 of 3 checks of answers had no verdict and score 0 (2 timeout): raise reward.timeout" in caplog.text
    caplog.clear()
    assert reward.score([GOOD[0]] * 40 + ["\\boxed{9^{9^{9^{6}}}}"], [GOOD[1]] * 40 + ["2"])[-1] == 0.0
    reward.report()
    assert not caplog.text, "one in forty is no alarm"


@pytest.mark.parametrize("strange", STRANGE)
def test_a_strange_response_scores_0_and_never_raises(reward: MathReward, strange: str) -> None:
    began = time.monotonic()
    assert reward.score([STRANGE[strange], GOOD[0]], ["17x", GOOD[1]]) == [0.0, 1.0]
    assert time.monotonic() - began < TIMEOUT + 2
    assert reward.score(["\\boxed{5}"], [STRANGE[strange]]) == [0.0]  # nor a strange gold answer


def test_a_check_without_memory_is_no_loss() -> None:
    polynomial, gold = "\\boxed{(x+y+z+w)^{34}(w+z+y+x)}", "(x+y+z+w)^{35}"
    with MathReward(timeout=60, processes=1) as reward:
        assert reward.score([polynomial], [gold]) == [1.0]
    with MathReward(timeout=60, processes=1, memory_gib=0.005) as reward:
        assert reward.score([polynomial, GOOD[0]], [gold, GOOD[1]]) == [0.0, 1.0]
        counts = reward.report()
        assert counts["checks_unreadable"] + counts["checks_died"] == 1


@pytest.fixture
def server_of_its_own() -> Iterator[tuple[MathReward, psutil.Process]]:
    before = psutil.Process().children()
    with MathReward(timeout=20, processes=1) as reward:
        (server,) = set(psutil.Process().children()) - set(before)
        yield reward, server


@pytest.mark.parametrize("number", [signal.SIGUSR1, signal.SIGUSR2])
def test_a_warning_of_a_time_limit_to_all_processes_ends_no_check(
    server_of_its_own: tuple[MathReward, psutil.Process], number: signal.Signals
) -> None:
    """As Slurm sends it, while a check is under way."""
    reward, server = server_of_its_own
    workers = server.children()
    under_way = reward.submit(*GOOD)
    for process in (server, *workers):
        process.send_signal(number)
    assert under_way.result() == 1.0
    assert [process.is_running() for process in (server, *workers)] == [True, True]
    assert server.children() == workers


def test_a_worker_that_dies_is_replaced(server_of_its_own: tuple[MathReward, psutil.Process]) -> None:
    reward, server = server_of_its_own
    (worker,) = server.children()
    bomb = reward.submit("\\boxed{9^{9^{9^9}}}", "2")
    assert until(lambda: worker.cpu_percent(0.05) > 20)
    worker.kill()
    assert bomb.result(timeout=5) == 0.0
    assert reward.report()["checks_died"] == 1
    assert reward.score(["\\boxed{x+x}"], ["2x"]) == [1.0]
    assert server.children() != [worker]


def test_a_server_that_dies_is_replaced_and_nothing_is_lost(
    server_of_its_own: tuple[MathReward, psutil.Process],
) -> None:
    reward, server = server_of_its_own
    server.suspend()
    pending = [reward.submit(f"\\boxed{{{n}x + {n}x}}", f"{2 * n}x") for n in range(2, 8)]
    server.kill()
    assert [p.result(timeout=20) for p in pending] == [1.0] * 6


def test_close_ends_every_process_and_a_later_score_starts_again() -> None:
    before = running()
    reward = MathReward(timeout=30, processes=2)
    try:
        assert reward.score([GOOD[0]], [GOOD[1]]) == [1.0]
        hung = [reward.submit(f"\\boxed{{9^{{9^{{9^{n}}}}}}}", "2") for n in (8, 9)]
        assert until(lambda: len(running()) == len(before) + 3)
        reward.close()
        assert running() == before
        assert [h.result(timeout=1) for h in hung] == [0.0, 0.0]
        assert reward.score(["\\boxed{y+y}"], ["2y"]) == [1.0]
    finally:
        reward.close()
    assert running() == before


@pytest.mark.parametrize("end", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_whatever_ends_the_program_no_process_stays(end: signal.Signals, tmp_path: Path) -> None:
    script = """
        import signal
        from gmpo.rewards import MathReward
        signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background jobs ignore it
        reward = MathReward(timeout=100, processes=2)
        print("started", flush=True)
        reward.score(["\\\\boxed{9^{9^{9^9}}}", "\\\\boxed{9^{9^{9^8}}}"], ["2", "2"])
    """  # no guard for __main__: it needs none
    program = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(script)], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    )
    assert program.stdout is not None
    assert program.stdout.readline() == b"started\n"
    assert until(lambda: len(running(program.pid)) == 3, 20)
    left = running(program.pid)
    os.kill(program.pid, end)
    program.wait(timeout=10)
    assert until(lambda: not any(p.is_running() and p.status() != psutil.STATUS_ZOMBIE for p in left))


def test_a_server_that_cannot_start_is_one_clear_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gmpo.verifier.client.SERVER", ("-c", "raise SystemExit('no sympy here')"))
    reward = MathReward(processes=1)
    with pytest.raises(RuntimeError, match="cannot start: no sympy here"):
        reward.score([GOOD[0]], [GOOD[1]])
    assert reward.score(["\\boxed{1}"], ["1"]) == [1.0]


def test_checks_are_answered_as_they_come() -> None:
    with MathReward(timeout=3, processes=2) as reward:
        slow = reward.submit("\\boxed{9^{9^{9^9}}}", "2")
        assert reward.submit(*GOOD).result(timeout=2) == 1.0
        assert not slow.done()
        assert slow.result() == 0.0
