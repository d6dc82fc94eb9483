"""What every test gets: unit tests cannot reach a network or a server; other tiers find real services as fixtures."""

import signal
from pathlib import Path

import pytest
from pytest_socket import disable_socket, socket_allow_hosts

pytest_plugins = [
    "tests.support.services",
    "tests.support.platform",
    "tests.support.cluster",
    "tests.support.crds",
    "tests.support.operators",
    "tests.support.helm",
    "tests.support.vllm",
    "tests.support.worlds",
]

UNIT = Path(__file__).parent / "unit"


def pytest_configure() -> None:
    """A shell starts what runs in its background with SIGINT ignored, and programs under test would inherit that."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--forbid-skips", action="store_true", help="a skipped test fails the run, with its reason")


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session: pytest.Session, exitstatus: int) -> None:
    """With ``--forbid-skips`` a tier passes only when all of its tests ran."""
    reporter = session.config.pluginmanager.get_plugin("terminalreporter")
    skipped = reporter.stats.get("skipped", []) if reporter else []
    if session.config.getoption("--forbid-skips") and skipped and exitstatus == pytest.ExitCode.OK:
        for report in skipped:
            reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else report.longrepr
            reporter.write_line(f"\nnot allowed here: {report.nodeid}: {reason}", red=True)
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


def pytest_runtest_setup(item: pytest.Item) -> None:
    """No unit test opens a socket; pytest-socket gives them back after each test.

    An event loop needs a pair of unix sockets for itself, so those may be made, but none may be connected.
    """
    if UNIT in item.path.parents:
        disable_socket(allow_unix_socket=True)
        socket_allow_hosts([], allow_unix_socket=False)
