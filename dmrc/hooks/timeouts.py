"""Calls of a plugin within a time limit, so that nobody waits for one that hangs."""

from __future__ import annotations

import asyncio
import contextlib
import inspect
import time
from collections.abc import Iterator, Mapping
from concurrent.futures import Future

from dmrc.errors import PluginError
from dmrc.hooks.plugin import Implementation, first_line
from dmrc.threads import start_thread

LIMIT_SECONDS = 5.0
"""How long a filter may take, unless its plugin says so itself (`dmrc_filter_seconds`)."""

_OVERDUE_LIMIT = 4
"""Calls of one plugin that may run on after they were given up; then it is skipped without a wait until they end."""

_RUNNING_LIMIT = 256
"""Calls of one plugin at the same time."""


async def call(implementation: Implementation, arguments: Mapping[str, object]) -> object:
    """Call a filter, plain or async, and return what it returned. Only a plain one needs a thread.

    Raises:
        PluginError: It raised or took too long; counted and logged already.
    """
    function = implementation.function
    with _counted(implementation):
        limit = asyncio.timeout(limit_of(implementation))
        try:
            async with limit:
                if inspect.iscoroutinefunction(function) or inspect.isasyncgenfunction(function):
                    result = implementation(arguments)
                else:
                    result = await asyncio.wrap_future(_begin(implementation, arguments))
                return await result if inspect.isawaitable(result) else result
        except TimeoutError as error:
            if not limit.expired():
                raise
            raise too_long(limit_of(implementation)) from error


def call_blocking(implementation: Implementation, arguments: Mapping[str, object]) -> object:
    """Call a plain filter, and wait for it in this thread.

    Raises:
        PluginError: It raised or took too long; counted and logged already.
    """
    with _counted(implementation):
        future = _begin(implementation, arguments)
        try:
            return future.result(LIMIT_SECONDS)
        except TimeoutError as error:
            if future.done():
                raise
            raise too_long(LIMIT_SECONDS) from error


def limit_of(implementation: Implementation) -> float:
    """Return how long one call of a filter of requests or answers, or one chunk of it, may take, in seconds."""
    return implementation.plugin.filter_seconds or LIMIT_SECONDS


def too_long(seconds: float) -> PluginError:
    """Return the error of a filter that took longer than these."""
    return PluginError(f"it took more than {seconds:.0f} s")


def _begin(implementation: Implementation, arguments: Mapping[str, object]) -> Future[object]:
    plugin = implementation.plugin
    # By the beginning of each, and not by who gave it up: a caller who hangs up gives up before the limit.
    running, limit = plugin.running_seconds(), limit_of(implementation)
    if (overdue := sum(seconds > limit for seconds in running)) >= _OVERDUE_LIMIT:
        raise PluginError(f"{overdue} earlier calls, given up, still run")
    if len(running) >= _RUNNING_LIMIT:
        raise PluginError(f"{len(running)} earlier calls still run")
    future = start_thread(lambda: implementation(arguments), f"plugin-{plugin.name}")
    plugin.began(future)
    return future


@contextlib.contextmanager
def _counted(implementation: Implementation) -> Iterator[None]:
    """Count a call, and turn whatever it raises into `PluginError`."""
    began = time.perf_counter()
    try:
        yield
    except (Exception, SystemExit) as error:  # the border: third-party code may raise anything
        implementation.plugin.count_error(implementation.hook, error)
        raise PluginError(first_line(error)) from error
    finally:
        implementation.plugin.count_call(time.perf_counter() - began)
