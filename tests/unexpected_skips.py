"""--no-unexpected-skips: fail the session where a test is skipped, but for reasons that no set-up can fix."""

import re
from collections import Counter

import pytest

REASONS = (
    r"no GPU",
    r"there are GPUs here",
    r"could not import '(mlflow|wandb)'",  # optional loggers
    r"no Slurm: ",
    r"mounting a file system needs root",
)
ALLOWED = re.compile("|".join(REASONS))
OPTION = "--no-unexpected-skips"


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(OPTION, action="store_true", help="fail the session where a test is skipped that should not be")


def pytest_configure(config: pytest.Config) -> None:
    if config.getoption(OPTION):
        config.pluginmanager.register(UnexpectedSkips(), "unexpected skips")


class UnexpectedSkips:
    def __init__(self) -> None:
        self.found: Counter[str] = Counter()

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        self.look_at(report)

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        self.look_at(report)

    def look_at(self, report: pytest.TestReport | pytest.CollectReport) -> None:
        if report.skipped and isinstance(report.longrepr, tuple):  # another one is an expected failure
            path, line, reason = report.longrepr
            reason = reason.removeprefix("Skipped: ")
            if not ALLOWED.match(reason):
                self.found[f"{path}:{line}: {reason}"] += 1

    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        if self.found and session.exitstatus in (pytest.ExitCode.OK, pytest.ExitCode.NO_TESTS_COLLECTED):
            session.exitstatus = pytest.ExitCode.TESTS_FAILED

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        if self.found:
            terminalreporter.section("unexpected skips", red=True)
            for place, count in sorted(self.found.items()):
                terminalreporter.line(f"{count} at {place}")
