"""A fast test starts no process: the guard that keeps the selection of `make fast` true (tests/groups.py)."""

from __future__ import annotations

import multiprocessing.util
import sys
from collections.abc import Generator
from typing import Any

import pytest

_STARTS = ("subprocess.Popen", "os.posix_spawn", "os.fork", "os.forkpty", "os.system", "multiprocessing.spawn")
"""Source: https://docs.python.org/3/library/audit_events.html; the last one is raised by us, below."""


class _Watch:
    """Refuses every process that a fast test starts, and fails the test even where the code under test goes on."""

    def __init__(self) -> None:
        self._is_on = False
        self._started: list[str] = []

    def audit(self, event: str, arguments: tuple[object, ...]) -> None:
        """Be told of what this process does."""
        if self._is_on and event in _STARTS:
            self._started.append(f"{event} {arguments[0] if arguments else ''}".strip())
            raise PermissionError(f"a fast test starts a process: {self._started[-1]}")

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_setup(self, item: pytest.Item) -> Generator[None, object, object]:
        return (yield from self._watch(item))

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_call(self, item: pytest.Item) -> Generator[None, object, object]:
        return (yield from self._watch(item))

    def _watch(self, item: pytest.Item) -> Generator[None, object, object]:
        """Watch one phase. The end of a test may be the end of a module's processes, which were others' to start."""
        self._started.clear()
        self._is_on = item.get_closest_marker("fast") is not None
        try:
            return (yield)
        finally:
            self._is_on = False
            if self._started:
                what = f"{item.nodeid} starts a process ({self._started[0]}) and nothing says so"
                pytest.fail(f"{what}. Mark it: @pytest.mark.process, or `needs_process` in its fixture", pytrace=False)


def pytest_configure(config: pytest.Config) -> None:
    """Watch the whole process, which an audit hook does for good."""
    watch = _Watch()
    config.pluginmanager.register(watch)
    sys.addaudithook(watch.audit)
    _audit_multiprocessing()


def _audit_multiprocessing() -> None:
    """Tell of the children of `multiprocessing`, which Python starts without an audit event."""
    spawn = multiprocessing.util.spawnv_passfds  # type: ignore[attr-defined]

    def told(path: Any, arguments: Any, passed: Any) -> Any:
        sys.audit("multiprocessing.spawn", arguments)
        return spawn(path, arguments, passed)

    multiprocessing.util.spawnv_passfds = told  # type: ignore[attr-defined]
