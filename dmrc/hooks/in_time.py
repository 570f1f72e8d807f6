"""Calls of third-party code that a command or the daemon's start waits for: given up where it hangs."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial

from dmrc.errors import PluginError
from dmrc.hooks.plugin import Implementation
from dmrc.threads import start_thread

IMPORT_SECONDS = 5.0
"""How long the import of a third-party plugin may keep a command waiting."""


def attempted(implementation: Implementation, arguments: Mapping[str, object]) -> object:
    """Return what a third-party hook returns, on whose answer a command or the daemon's start waits.

    Raises:
        PluginError: It raised, or takes too long; counted and logged already.
    """
    if implementation.plugin.is_built_in:
        return implementation.attempt(arguments)
    try:
        return in_time(partial(implementation.attempt, arguments), implementation.hook)
    except _TooLongError as error:
        implementation.plugin.count_error(implementation.hook, error)
        raise


def in_time(work: Callable[[], object], what: str) -> object:
    """Return what `work` returns. Its thread goes on where it hangs, and does not keep the process from ending.

    Raises:
        PluginError: It takes too long.
    """
    future = start_thread(work, f"plugin-{what}")
    try:
        return future.result(IMPORT_SECONDS)
    except TimeoutError as error:
        if future.done():
            raise
        raise _TooLongError(f"its {what} took more than {IMPORT_SECONDS:.0f} s") from error


class _TooLongError(PluginError):
    """It was given up."""
