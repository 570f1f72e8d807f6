"""One plugin: where it comes from, what became of it, and what its hooks have cost so far."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Literal

from dmrc.errors import PluginError
from dmrc.fields import JsonValue

_log = logging.getLogger(__name__)

_REPORT_SECONDS = 60.0

BUILT_IN_ORIGIN = "built in"
"""Where a plugin of dmrc's own comes from."""

PluginState = Literal["loaded", "failed", "disabled"]
"""In use; skipped, with a reason; left out by `DMRC_PLUGINS`."""


@dataclass(frozen=True, slots=True)
class Identity:
    """Which plugin it is."""

    name: str
    """Of a built-in its module, of an installed one its entry point, of a file its stem."""
    origin: str
    """`built in`, the distribution that brought it, or the path."""
    version: str = "-"
    """Of the distribution, or `__version__` of the file."""
    project: str | None = None
    """The project whose own it is; "" is the one of requests without a project."""

    @property
    def key(self) -> str:
        """Return what tells it from every other plugin."""
        return self.name if self.project is None else f"{self.project}:{self.origin}:{self.name}"


class Plugin:
    """One plugin and its counters. Safe for threads."""

    def __init__(self, identity: Identity) -> None:
        """Begin with one that is not loaded yet."""
        self.identity = identity
        self.state: PluginState = "disabled"
        self.reason: str | None = None
        self.hooks: tuple[str, ...] = ()
        self.filter_seconds: float | None = None
        """How long its filters may take, where it says so itself."""
        self._running: dict[Future[object], float] = {}
        self._lock = threading.Lock()
        self._calls = self._errors = self._dropped = 0
        self._seconds = 0.0
        self._unreported: dict[str, int] = {}
        self._next_report: dict[str, float] = {}

    @property
    def name(self) -> str:
        return self.identity.name

    @property
    def is_built_in(self) -> bool:
        return self.identity.origin == BUILT_IN_ORIGIN

    @property
    def dropped(self) -> int:
        """Return how many notifications it did not get."""
        return self._dropped

    def skip(self, reason: str) -> None:
        """Leave it out for a reason."""
        self.state, self.reason, self.hooks = "failed", reason, ()

    def count_call(self, seconds: float, calls: int = 1) -> None:
        """Count a call of a hook, failed or not; with `calls=0` more time of one that was counted."""
        with self._lock:
            self._calls += calls
            self._seconds += seconds

    def began(self, call: Future[object]) -> None:
        """Count a call that runs in a thread, until it ends."""
        with self._lock:
            self._running[call] = time.monotonic()
        call.add_done_callback(self._has_ended)

    def running_seconds(self) -> list[float]:
        """Return for how long each of the calls in threads has run."""
        now = time.monotonic()
        with self._lock:
            return [now - since for since in self._running.values()]

    def _has_ended(self, call: Future[object]) -> None:
        with self._lock:
            self._running.pop(call, None)

    def count_dropped(self, number: int = 1) -> None:
        """Count notifications that it did not get."""
        self._complain("falls behind: its queue is full, or it was unloaded", dropped=number)

    def count_error(self, hook: str, problem: BaseException | str) -> None:
        """Count one failure; the log hears of the first, and then at most once a minute how many there were."""
        where = problem if isinstance(problem, BaseException) and not isinstance(problem, PluginError) else None
        self._complain(f"failed in {hook}: {first_line(problem)}", hook, where, errors=1)

    def _complain(
        self, problem: str, topic: str = "", cause: BaseException | None = None, *, errors: int = 0, dropped: int = 0
    ) -> None:
        with self._lock:
            self._errors += errors
            self._dropped += dropped
            count = self._unreported[topic] = self._unreported.get(topic, 0) + errors + dropped
            if (now := time.monotonic()) < self._next_report.get(topic, 0.0):
                return
            self._next_report[topic] = now + _REPORT_SECONDS
            self._unreported[topic] = 0
        times = f" ({count} times since the last report)" if count > 1 else ""
        _log.warning("plugin '%s' %s%s", self.name, problem, times, exc_info=cause)

    def to_json(self) -> dict[str, JsonValue]:
        """Return what `dmrc plugins --json` prints."""
        with self._lock:
            mean = self._seconds / self._calls * 1000 if self._calls else None
            return {
                "name": self.name,
                "version": self.identity.version,
                "from": self.identity.origin,
                "project": self.identity.project or None,
                "state": self.state,
                "reason": self.reason,
                "hooks": list(self.hooks),
                "calls": self._calls,
                "errors": self._errors,
                "mean_ms": None if mean is None else round(mean, 3),
                "dropped": self._dropped,
            }


@dataclass(frozen=True, slots=True)
class Implementation:
    """One plugin's implementation of one hook."""

    plugin: Plugin
    """Whose."""
    hook: str
    """Of which hook."""
    function: Callable[..., object]
    """What is called."""
    argument_names: tuple[str, ...]
    """The arguments that it wants, in its order."""

    def __call__(self, arguments: Mapping[str, object]) -> object:
        """Call it with those of `arguments` that it wants; whatever it raises comes through, and counts as nothing."""
        return self.function(*(arguments[name] for name in self.argument_names))

    def attempt(self, arguments: Mapping[str, object]) -> object:
        """Call it, and count.

        Raises:
            PluginError: It raised; counted and logged already.
        """
        began = time.perf_counter()
        try:
            return self(arguments)
        except (Exception, SystemExit) as error:  # the border: third-party code may raise anything
            self.plugin.count_error(self.hook, error)
            raise PluginError(f"plugin '{self.plugin.name}' failed in {self.hook}: {first_line(error)}") from error
        finally:
            self.plugin.count_call(time.perf_counter() - began)


def first_line(problem: BaseException | str) -> str:
    """Return what went wrong, in one line."""
    if isinstance(problem, str):
        return problem
    if isinstance(problem, PluginError):
        return str(problem)
    lines = str(problem).splitlines()
    return f"{type(problem).__name__}: {lines[0]}" if lines else type(problem).__name__
