"""`pytest --forbid-skips`: a test that was skipped for lack of something that could be installed fails the run."""

import pytest

UNAVOIDABLE = ("there is a GPU", "a small file system cannot be mounted here")
"""Reasons, or parts of them, that no package could take away."""


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--forbid-skips", action="store_true", help="fail if a test lacked what could be installed")


def pytest_sessionfinish(session: pytest.Session) -> None:
    if session.config.getoption("forbid_skips") and list_avoidable(session):
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    if not terminalreporter.config.getoption("forbid_skips"):
        return
    for reason in list_avoidable(terminalreporter._session):
        terminalreporter.write_line(f"SKIPPED, and --forbid-skips was given: {reason}", red=True)


def list_avoidable(session: pytest.Session | None) -> list[str]:
    """Where and why tests, or whole files, were skipped that need not have been."""
    reporter = session and session.config.pluginmanager.get_plugin("terminalreporter")
    skipped = reporter.stats.get("skipped", []) if reporter else []
    reasons = [f"{report.nodeid}: {report.longrepr[2]}" for report in skipped]
    return [reason for reason in reasons if not any(known in reason for known in UNAVOIDABLE)]
