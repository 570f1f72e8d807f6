"""What a plugin must be like before one of its hooks is called. Every rule says what to do."""

from __future__ import annotations

import inspect
import math

import pluggy

from dmrc.errors import PluginError
from dmrc.hooks.specs import AWAITED, KINDS, WIDE
from dmrc.suggestions import did_you_mean


def check(manager: pluggy.PluginManager, plugin: object, *, is_local: bool) -> tuple[str, ...]:
    """Return the hooks that a registered plugin implements.

    Raises:
        PluginError: A hook is unknown or misspelt, a wrapper, `async` where nobody awaits, not marked, or not for a
            project's own plugin; or there is none at all.
    """
    callers = manager.get_hookcallers(plugin) or []
    _check_names(manager, callers)
    for caller in callers:
        for implementation in caller.get_hookimpls():
            if implementation.plugin is plugin:
                _check_one(caller.name, implementation)
    hooks = tuple(sorted({caller.name for caller in callers} & KINDS.keys()))
    _check_marks(plugin, hooks)
    if is_local and (wide := WIDE & set(hooks)):
        raise PluginError(
            f"a project's own plugin cannot implement {min(wide)}",
            remedy="Install it, or name the file in DMRC_PLUGINS",
        )
    return hooks


def filter_seconds(plugin: object) -> float | None:
    """Return how long the filters of a plugin may take, where it says so: its `dmrc_filter_seconds`.

    Raises:
        PluginError: It says something else.
    """
    seconds = getattr(plugin, "dmrc_filter_seconds", None)
    if seconds is None:
        return None
    if isinstance(seconds, bool) or not isinstance(seconds, int | float) or not 0 < seconds < math.inf:
        raise PluginError(f"dmrc_filter_seconds is {seconds!r}", remedy="Write a number of seconds above 0")
    return float(seconds)


def _check_names(manager: pluggy.PluginManager, callers: list[pluggy.HookCaller]) -> None:
    try:
        manager.check_pending()
    except pluggy.PluginValidationError as error:
        name = next((caller.name for caller in callers if caller.name not in KINDS), "?")
        raise PluginError(f"there is no hook {name}{did_you_mean(name, KINDS)}") from error


def _check_one(name: str, implementation: pluggy.HookImpl) -> None:
    if implementation.wrapper or implementation.hookwrapper:
        raise PluginError(f"{name} is a wrapper", remedy="Hooks are called one by one; write a plain implementation")
    function = implementation.function
    is_async = inspect.iscoroutinefunction(function) or inspect.isasyncgenfunction(function)
    if is_async and name not in AWAITED:
        raise PluginError(f"{name} is async", remedy="It runs in a thread of its own; write a plain function")
    if inspect.isasyncgenfunction(function) and name != "dmrc_response_stream":
        raise PluginError(f"{name} yields", remedy="Return the value")


def _check_marks(plugin: object, hooks: tuple[str, ...]) -> None:
    """Refuse a function that is called like a hook and is not marked: it would do nothing, silently."""
    for name in KINDS:
        if name not in hooks and callable(getattr(plugin, name, None)):
            raise PluginError(f"{name} is not marked as a hook", remedy="Put @hookimpl, imported from dmrc, above it")
    if not hooks:
        raise PluginError("it implements no hook", remedy="Put @hookimpl, imported from dmrc, above its functions")
