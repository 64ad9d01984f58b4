"""For every test: a skipped or expected-to-fail one fails the run where nothing may be skipped (CI)."""

import os

import pytest

NOTHING_SKIPPED = os.environ.get("CSGATE_NO_SKIP") == "1" or os.environ.get("CI", "").lower() in ("1", "true")

_skipped = pytest.StashKey[list[str]]()


def pytest_configure(config: pytest.Config) -> None:
    config.stash[_skipped] = []
    if NOTHING_SKIPPED:
        config.pluginmanager.register(_SkipWatch(config.stash[_skipped]))


class _SkipWatch:
    def __init__(self, skipped: list[str]) -> None:
        self._skipped = skipped

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.skipped:
            self._skipped.append(report.nodeid)

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        if report.skipped:
            self._skipped.append(report.nodeid)

    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        if self._skipped and session.exitstatus in (pytest.ExitCode.OK, pytest.ExitCode.NO_TESTS_COLLECTED):
            session.exitstatus = pytest.ExitCode.TESTS_FAILED

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        if self._skipped:
            terminalreporter.section("skipped, where nothing may be skipped", red=True)
            for name in self._skipped:
                terminalreporter.line(name)
