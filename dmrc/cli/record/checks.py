"""The checks of `dmrc doctor`, each a function; they look, and change nothing."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING

from dmrc.cli.app import App
from dmrc.cli.record.check import Check
from dmrc.cli.record.network_checks import bridge, network, port
from dmrc.errors import DmrcError, DockerError

if TYPE_CHECKING:
    from dmrc.engines.cards import Card
    from dmrc.engines.devices import DeviceList

_LITTLE_DISK_BYTES = 5_000_000_000
_LITTLE_MEMORY_BYTES = 1_000_000_000
_OTHER_BUILD = "Run: dmrc engine install"


def check_all(app: App) -> Iterator[Check]:
    """Yield the checks one by one; one that fails in one of our own ways is a problem, in its words.

    At the end engines tell of what they run on elsewhere.
    """
    for name, check in _CHECKS.items():
        try:
            yield check(app)
        except DmrcError as error:
            yield Check(name, "problem", error.message, error.remedy)
    for engine in app.engines.values():
        if (found := engine.surroundings()) is not None:
            yield Check(engine.name, found.state, found.message, found.remedy)


def _home(app: App) -> Check:
    """Look whether the state can be written; a directory that is not there yet is made by the first command."""
    home = app.settings.home
    existing = next(path for path in (home, *home.parents) if path.exists())
    if existing.is_dir() and os.access(existing, os.W_OK | os.X_OK):
        return Check("state", "ok", str(home))
    remedy = "Make it writable, or set DMRC_HOME to another directory"
    return Check("state", "problem", f"'{existing}' cannot be written", remedy)


def _keys(app: App) -> Check:
    """Look whether others may read the keys of services."""
    paths = app.settings.paths
    secret = [*paths.projects.glob("*/keys.json"), *paths.projects.glob("*/override.yaml")]
    open_to_others = [path for path in secret if path.stat().st_mode & 0o077]
    if not open_to_others:
        return Check("keys", "ok", "readable by you alone")
    named = " ".join(map(str, open_to_others))
    return Check("keys", "problem", f"others may read keys of services: {named}", f"Run: chmod 600 {named}")


def _disk(app: App) -> Check:
    from dmrc.cli.tables import size

    home = app.settings.home
    free = shutil.disk_usage(next(path for path in (home, *home.parents) if path.exists())).free
    if free < _LITTLE_DISK_BYTES:
        return Check("disk", "warning", f"{size(free)} free", "See: dmrc df, dmrc prune")
    return Check("disk", "ok", f"{size(free)} free")


def _memory(app: App) -> Check:
    from dmrc.cli.tables import size
    from dmrc.scheduler.free_memory import FreeMemory

    free, limit = FreeMemory()(), app.settings.memory_bytes
    message = f"{size(free)} free" + (f", {size(limit)} for models by DMRC_MEMORY" if limit else "")
    if min(free, limit or free) < _LITTLE_MEMORY_BYTES:
        return Check("memory", "warning", message, "Only small models fit; see: dmrc ps, dmrc unload --all")
    return Check("memory", "ok", message)


def _engine(app: App) -> Check:
    from dmrc.project import DEFAULT_ENGINE

    described = {name: engine.describe() for name, engine in app.engines.items() if engine.formats}
    found = {name: text for name, text in described.items() if not text.startswith("not installed")}
    if DEFAULT_ENGINE in found:
        return Check("engine", "ok", "; ".join(f"{name}: {text}" for name, text in found.items()))
    remedy = "Install xllamacpp, or name a llama-server by DMRC_LLAMA_SERVER"
    return Check("engine", "problem", f"there is no {DEFAULT_ENGINE}", remedy)


def _gpu(app: App) -> Check:
    """Look whether the engine in use can use the cards of this machine."""
    import asyncio

    from dmrc.engines.cards import cards
    from dmrc.engines.devices import DeviceList
    from dmrc.engines.llama_cpp.engine import LlamaCpp
    from dmrc.project import DEFAULT_ENGINE

    engine = app.engines.get(DEFAULT_ENGINE)
    if not isinstance(engine, LlamaCpp):
        return graphics(cards(), "another program", DeviceList())
    return graphics(cards(), engine.program, asyncio.run(engine.list_devices()))


def graphics(found: Sequence[Card], program: str, answer: DeviceList) -> Check:
    """Return what there is to say of the cards of a machine, and of what the engine in use answered."""
    from dmrc.cli.tables import size
    from dmrc.engines.cards import in_words, worth_using

    shown = in_words(found)
    if answer.devices:
        used = "; ".join(
            f"{one.name}: {one.description}, {size(one.free_bytes)} free of {size(one.total_bytes)}"
            for one in answer.devices
        )
        return Check("gpu", "ok", f"{shown}: used as {used}" if shown else f"used: {used}")
    if answer.failure is not None:
        why = f"the engine in use ({program}) does not list its devices: {answer.failure}"
        message = f"{shown}: not used, {why}" if shown else why
        return Check("gpu", "warning", message, _OTHER_BUILD)
    if not shown:
        return Check("gpu", "ok", "no graphics card; models run on the processor")
    why = f"not used, the engine in use ({program}) was built for processors, or misses the card's driver"
    if not worth_using(found):
        return Check("gpu", "ok", f"{shown}: {why}")
    return Check("gpu", "warning", f"{shown}: {why}", _OTHER_BUILD)


def _daemon(app: App) -> Check:
    from dmrc import __version__

    status = app.daemon.status()
    if status is None:
        return Check("daemon", "ok", "does not run; it starts by itself")
    if status["version"] != __version__:
        message = f"is of version {status['version']}, and this is {__version__}"
        return Check("daemon", "warning", message, "Run: dmrc stop-runner; the next command starts the new one")
    return Check("daemon", "ok", f"runs, version {__version__}")


def _docker(app: App) -> Check:
    """Look whether the engine answers; without Docker dmrc serves programs on this machine."""
    from dmrc.compose.network import check_reachable
    from dmrc.docker_context import docker_endpoint

    del app
    if shutil.which("docker") is None and shutil.which("docker-compose") is None:
        return Check("docker", "warning", "there is no docker on PATH", "Install it for dmrc up; dmrc exec needs none")
    endpoint = docker_endpoint(os.environ)
    check_reachable(endpoint.host)
    return Check("docker", "ok", f"answers at {endpoint.host}")


def _compose(app: App) -> Check:
    from dmrc.compose.command import MINIMUM_VERSION, Compose

    del app
    wanted = ".".join(map(str, MINIMUM_VERSION))
    try:
        version = Compose(os.environ).version()
    except DockerError as error:
        return Check("compose", "warning", error.message, error.remedy)
    if version is None:
        return Check("compose", "problem", "Docker Compose is not installed", f"Install {wanted} or newer")
    text = ".".join(map(str, version))
    if version < MINIMUM_VERSION:
        return Check("compose", "problem", f"{text} does not know 'models:'", f"Install {wanted} or newer")
    return Check("compose", "ok", text)


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
    "state": _home,
    "keys": _keys,
    "disk": _disk,
    "memory": _memory,
    "engine": _engine,
    "gpu": _gpu,
    "daemon": _daemon,
    "port": port,
    "docker": _docker,
    "compose": _compose,
    "plugin": _plugin,
    "bridge": bridge,
    "network": network,
}
