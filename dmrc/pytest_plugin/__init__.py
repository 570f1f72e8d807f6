"""The plugin of pytest: a test asks a service's models, and cassettes answer. pytest loads it by itself.

Everything else of dmrc is imported by the first test that asks for the fixture.
"""

from __future__ import annotations

from collections.abc import Generator, Iterator, Mapping
from typing import TYPE_CHECKING

import pytest

from dmrc.pytest_plugin.given import ReplayedService

if TYPE_CHECKING:
    from dmrc.pytest_plugin.replayed_test import ReplayedTest
    from dmrc.pytest_plugin.replays import ReplaySession

_MARKER = (
    "dmrc(service=None, file=None, cassette=None, speed=0): what the fixture dmrc_replay replays; "
    "paths begin beside the test's file"
)
_OF_SESSION: pytest.StashKey[ReplaySession] = pytest.StashKey()
_OF_TEST: pytest.StashKey[ReplayedTest] = pytest.StashKey()
_DAEMON_IS_OURS = "dmrc_daemon_is_ours"


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the options and the settings."""
    group = parser.getgroup("dmrc", "dmrc: models from cassettes")
    mode = group.addoption
    mode("--dmrc-record", action="store_true", help="Ask the real models, and write the cassettes anew.")
    mode("--dmrc-replay-or-record", action="store_true", help="Ask the real models what no cassette has, and add it.")
    mode("--dmrc-strict", action="store_true", help="Fail a test that does not ask all that its cassette holds.")
    parser.addini("dmrc_service", "The service of the compose file that tests are. Default: the only one with models.")
    parser.addini("dmrc_file", "The compose file, from pytest's rootdir. Default: beside the test's file, or above.")
    parser.addini("dmrc_cassettes", "Where cassettes are, from the test's file. Default: cassettes.", "string")


def pytest_configure(config: pytest.Config) -> None:
    """Know the marker, and refuse options that contradict each other."""
    config.addinivalue_line("markers", _MARKER)
    if config.getoption("dmrc_record") and config.getoption("dmrc_replay_or_record"):
        raise pytest.UsageError("--dmrc-record writes cassettes anew, --dmrc-replay-or-record adds to them: choose one")


@pytest.fixture
def dmrc_replay(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[ReplayedService]:
    """Answer what the test asks its models out of its cassette; record it by --dmrc-record."""
    from dmrc.errors import DmrcError
    from dmrc.pytest_plugin.replays import ReplaySession

    stash = request.config.stash
    if _OF_SESSION not in stash:
        stash[_OF_SESSION] = ReplaySession(request.config)
    try:
        running = stash[_OF_SESSION].begin(request.node)
    except DmrcError as error:
        raise pytest.fail.Exception(f"dmrc: {error}", pytrace=False) from None
    for name in running.foreign_names:
        monkeypatch.delenv(name, raising=False)
    for name, value in running.service.environment.items():
        monkeypatch.setenv(name, value)
    request.node.stash[_OF_TEST] = running
    try:
        yield running.service
    finally:
        del request.node.stash[_OF_TEST]
        told = running.end()
    if told is not None:
        pytest.fail(told, pytrace=False)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Generator[None, object, object]:
    """Fail a test that asked what is not recorded, also where the program under test said nothing of the error."""
    try:
        result = yield
    except BaseException as error:
        if (said := _misses(item)) is not None:
            error.add_note(said)
        raise
    if (said := _misses(item)) is not None:
        pytest.fail(said, pytrace=False)
    if _OF_TEST in item.stash:
        item.stash[_OF_TEST].has_passed = True
    return result


def _misses(item: pytest.Item) -> str | None:
    running = item.stash.get(_OF_TEST, None)
    return None if running is None else running.new_misses()


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session: pytest.Session) -> None:
    """End what was started for the tests; a process of pytest-xdist leaves the daemon to the one that began it."""
    replays = session.config.stash.get(_OF_SESSION, None)
    if replays is None:
        return
    replays.forget_projects()
    output: dict[str, object] | None = getattr(session.config, "workeroutput", None)
    if output is None:
        replays.end_daemon()
    else:
        output[_DAEMON_IS_OURS] = replays.daemon_is_ours


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: object) -> None:
    """Hear from a process of pytest-xdist that it started the daemon, which this process ends when all are done."""
    output: Mapping[str, object] = getattr(node, "workeroutput", {})
    config: pytest.Config = node.config  # type: ignore[attr-defined]
    if output.get(_DAEMON_IS_OURS) and _OF_SESSION not in config.stash:
        from dmrc.pytest_plugin.replays import ReplaySession

        config.stash[_OF_SESSION] = ReplaySession(config, daemon_is_ours=True)
