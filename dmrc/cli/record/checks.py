"""The checks of `dmrc doctor`: those of this machine, and those that only a command can make."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from dmrc.cli.app import App
from dmrc.cli.record.network_checks import bridge, network, port
from dmrc.health.check import Check
from dmrc.health.machine import CHECKS, surroundings, tried


def check_all(app: App) -> Iterator[Check]:
    """Yield the checks one by one; one that fails in one of our own ways is a problem, in its words.

    At the end engines tell of what they run on elsewhere.
    """
    for name, check in _CHECKS.items():
        yield tried(name, check, app)
    yield from surroundings(app)


def _daemon(app: App) -> Check:
    from dmrc import __version__

    status = app.daemon.status()
    if status is None:
        return Check("daemon", "ok", "does not run; it starts by itself")
    if status["version"] != __version__:
        message = f"is of version {status['version']}, and this is {__version__}"
        return Check("daemon", "warning", message, "Run: dmrc stop-runner; the next command starts the new one")
    return Check("daemon", "ok", f"runs, version {__version__}")


def _plugin(app: App) -> Check:
    """Look which program is `docker model`; dmrc is so only by the user's wish."""
    from dmrc.cli.projects.plugin import installed

    del app
    match installed():
        case "ours":
            return Check("plugin", "ok", "docker model is dmrc")
        case "stale":
            return Check("plugin", "warning", "docker model is another dmrc than this", "Run: dmrc plugin install")
        case "other":
            return Check("plugin", "ok", "docker model is another program; dmrc plugin install would replace it")
        case _:
            return Check("plugin", "ok", "not installed; plain docker compose up wants it: dmrc plugin install")


_CHECKS: dict[str, Callable[[App], Check]] = {
    **{name: CHECKS[name] for name in ("state", "keys", "disk", "memory", "engine", "gpu")},
    "daemon": _daemon,
    "port": port,
    **{name: CHECKS[name] for name in ("docker", "compose")},
    "plugin": _plugin,
    "bridge": bridge,
    "network": network,
}
"""By what they are called, in the order in which they are told."""
