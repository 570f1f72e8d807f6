"""The checks of `dmrc doctor`, each a function; they look, and change nothing."""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from dmrc.cli.app import App
from dmrc.errors import DaemonError, DmrcError, DockerError

if TYPE_CHECKING:
    from dmrc.engines.cards import Card
    from dmrc.engines.devices import DeviceList

_LITTLE_DISK_BYTES = 5_000_000_000
_LITTLE_MEMORY_BYTES = 1_000_000_000
_LITTLE_VALIDITY_SECONDS = 3 * 86400.0
_OTHER_BUILD = "Run: dmrc engine install"
_LOOPBACK = "127.0.0.1"


@dataclass(frozen=True, slots=True)
class Check:
    """What was found in one place."""

    name: str
    """The place."""
    state: Literal["ok", "warning", "problem"]
    """A warning keeps a part of dmrc from working, a problem all of it."""
    message: str
    """What was found."""
    remedy: str | None = None
    """What to do; None where there is nothing to do."""


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


def _port(app: App) -> Check:
    """Look who has the port on loopback."""
    status, port = app.daemon.status(), app.settings.port
    if status is None:
        _bind(_LOOPBACK, port)
        return Check("port", "ok", f"{port} is free")
    if status["port"] == port:
        return Check("port", "ok", f"{port} is the daemon's")
    message = f"the daemon listens on {status['port']}, and DMRC_PORT is {port}"
    return Check("port", "problem", message, "Set DMRC_PORT to that, or run: dmrc stop-runner")


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


def _bridge(app: App) -> Check:
    """Look whether the gateway listens, or can, where containers reach this machine."""
    from dmrc.compose.network import bridge_gateway
    from dmrc.docker_context import docker_endpoint

    try:
        address = bridge_gateway(docker_endpoint(os.environ).host)
    except DockerError:
        return Check("bridge", "warning", "unknown, for Docker does not answer")
    if address is None:
        return Check("bridge", "ok", "containers reach loopback: Docker runs in a virtual machine")
    status = app.daemon.status()
    addresses = status["addresses"] if status is not None else None
    if isinstance(addresses, list) and address in addresses:
        return Check("bridge", "ok", f"the gateway listens on {address}:{app.settings.port}")
    _bind(address, app.settings.port)
    return Check("bridge", "ok", f"{address}:{app.settings.port} is free")


def _network(app: App) -> Check:
    """Look at where other machines come in, and at its certificate."""
    from dmrc.gateway.server.certificates import read_certificate

    status, wanted = app.daemon.status(), app.settings.listening
    listen = status.get("listen") if status is not None else None
    if status is not None and listen is None and wanted is not None:
        message = "the daemon was started without DMRC_LISTEN, and no other machine can come in"
        return Check("network", "warning", message, "Run: dmrc stop-runner; the next command starts it with that")
    if isinstance(listen, dict):
        ends, message = listen.get("expires_at"), f"other machines come in by a key at {listen['url']}"
    elif wanted is None:
        return Check("network", "ok", "no other machine can come in; see: dmrc serve --help")
    else:
        ends, message = None, f"other machines come in at {wanted.address}:{wanted.port} when the daemon runs"
        if wanted.tls_cert and wanted.tls_key:
            ends = read_certificate(wanted.tls_cert, wanted.tls_key).expires_at
    return certified(message, ends if isinstance(ends, float) else None, time.time())


def certified(message: str, ends_at: float | None, now: float) -> Check:
    """Return the check of a listener whose certificate ends then; None is one that has none."""
    if ends_at is None:
        return Check("network", "ok", message)
    left = ends_at - now
    if left < _LITTLE_VALIDITY_SECONDS:
        ends = f"ends in {left / 3600:.0f} hours" if left > 0 else "has expired: no client takes it"
        remedy = "Renew it; the daemon takes the new one by itself"
        return Check("network", "warning", f"{message}; its certificate {ends}", remedy)
    return Check("network", "ok", f"{message}; its certificate is valid for {left / 86400:.0f} days")


def _bind(address: str, port: int) -> None:
    """Listen for a moment, as the daemon would.

    Raises:
        DaemonError: It could not.
    """
    from dmrc.gateway.server.listeners import bind_tcp

    try:
        bind_tcp(address, port).close()
    except OSError as error:
        raise DaemonError(f"{address}:{port} cannot be used: {error.strerror}") from error


_CHECKS: dict[str, Callable[[App], Check]] = {
    "state": _home,
    "keys": _keys,
    "disk": _disk,
    "memory": _memory,
    "engine": _engine,
    "gpu": _gpu,
    "daemon": _daemon,
    "port": _port,
    "docker": _docker,
    "compose": _compose,
    "plugin": _plugin,
    "bridge": _bridge,
    "network": _network,
}
