"""Checks of this machine, for `dmrc doctor` and the web page: each looks, and changes nothing. They block."""

from __future__ import annotations

import asyncio
import os
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Protocol, TypeVar

from dmrc.compose.command import MINIMUM_VERSION, Compose
from dmrc.compose.network import check_reachable
from dmrc.docker_context import docker_endpoint
from dmrc.engines.cards import Card, cards, in_words, worth_using
from dmrc.engines.devices import DeviceList
from dmrc.engines.engine import Engine
from dmrc.engines.llama_cpp.engine import LlamaCpp
from dmrc.errors import DmrcError, DockerError
from dmrc.gguf import format_size
from dmrc.health.check import Check
from dmrc.project import DEFAULT_ENGINE
from dmrc.scheduler.free_memory import FreeMemory
from dmrc.settings import Settings

_LITTLE_DISK_BYTES = 5_000_000_000
_LITTLE_MEMORY_BYTES = 1_000_000_000
_OTHER_BUILD = "Run: dmrc engine install"
_Looked = TypeVar("_Looked")


class Machine(Protocol):
    """What is looked at; a command's `App` is one."""

    @property
    def settings(self) -> Settings:
        """Return where things are."""

    @property
    def engines(self) -> Mapping[str, Engine]:
        """Return the engines by name."""


def _home(machine: Machine) -> Check:
    """Look whether the state can be written; a directory that is not there yet is made by the first command."""
    home = machine.settings.home
    existing = next(path for path in (home, *home.parents) if path.exists())
    if existing.is_dir() and os.access(existing, os.W_OK | os.X_OK):
        return Check("state", "ok", str(home))
    remedy = "Make it writable, or set DMRC_HOME to another directory"
    return Check("state", "problem", f"'{existing}' cannot be written", remedy)


def _keys(machine: Machine) -> Check:
    """Look whether others may read the keys of services."""
    paths = machine.settings.paths
    secret = [*paths.projects.glob("*/keys.json"), *paths.projects.glob("*/override.yaml")]
    open_to_others = [path for path in secret if path.stat().st_mode & 0o077]
    if not open_to_others:
        return Check("keys", "ok", "readable by you alone")
    named = " ".join(map(str, open_to_others))
    return Check("keys", "problem", f"others may read keys of services: {named}", f"Run: chmod 600 {named}")


def _disk(machine: Machine) -> Check:
    home = machine.settings.home
    free = shutil.disk_usage(next(path for path in (home, *home.parents) if path.exists())).free
    if free < _LITTLE_DISK_BYTES:
        return Check("disk", "warning", f"{format_size(free)} free", "See: dmrc df, dmrc prune")
    return Check("disk", "ok", f"{format_size(free)} free")


def _memory(machine: Machine) -> Check:
    free, limit = FreeMemory()(), machine.settings.memory_bytes
    message = f"{format_size(free)} free" + (f", {format_size(limit)} for models by DMRC_MEMORY" if limit else "")
    if min(free, limit or free) < _LITTLE_MEMORY_BYTES:
        return Check("memory", "warning", message, "Only small models fit; see: dmrc ps, dmrc unload --all")
    return Check("memory", "ok", message)


def _engine(machine: Machine) -> Check:
    described = {name: engine.describe() for name, engine in machine.engines.items() if engine.formats}
    found = {name: text for name, text in described.items() if not text.startswith("not installed")}
    if DEFAULT_ENGINE in found:
        return Check("engine", "ok", "; ".join(f"{name}: {text}" for name, text in found.items()))
    remedy = "Install xllamacpp, or name a llama-server by DMRC_LLAMA_SERVER"
    return Check("engine", "problem", f"there is no {DEFAULT_ENGINE}", remedy)


def _gpu(machine: Machine) -> Check:
    """Look whether the engine in use can use the cards of this machine."""
    engine = machine.engines.get(DEFAULT_ENGINE)
    if not isinstance(engine, LlamaCpp):
        return graphics(cards(), "another program", DeviceList())
    return graphics(cards(), engine.program, asyncio.run(engine.list_devices()))


def graphics(found: Sequence[Card], program: str, answer: DeviceList) -> Check:
    """Return what there is to say of the cards of a machine, and of what the engine in use answered."""
    shown = in_words(found)
    if answer.devices:
        used = "; ".join(
            f"{one.name}: {one.description}, {format_size(one.free_bytes)} free of {format_size(one.total_bytes)}"
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


def _docker(machine: Machine) -> Check:
    """Look whether the engine answers; without Docker dmrc serves programs on this machine."""
    del machine
    if shutil.which("docker") is None and shutil.which("docker-compose") is None:
        return Check("docker", "warning", "there is no docker on PATH", "Install it for dmrc up; dmrc exec needs none")
    endpoint = docker_endpoint(os.environ)
    check_reachable(endpoint.host)
    return Check("docker", "ok", f"answers at {endpoint.host}")


def _compose(machine: Machine) -> Check:
    del machine
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


CHECKS: dict[str, Callable[[Machine], Check]] = {
    "state": _home,
    "keys": _keys,
    "disk": _disk,
    "memory": _memory,
    "engine": _engine,
    "gpu": _gpu,
    "docker": _docker,
    "compose": _compose,
}
"""By what they are called."""


def checked(machine: Machine) -> Iterator[Check]:
    """Yield the checks one by one, at the end what engines tell of what they run on elsewhere."""
    for name, check in CHECKS.items():
        yield tried(name, check, machine)
    yield from surroundings(machine)


def tried(name: str, check: Callable[[_Looked], Check], looked: _Looked) -> Check:
    """Return a check; one that fails in one of our own ways is a problem, in its words."""
    try:
        return check(looked)
    except DmrcError as error:
        return Check(name, "problem", error.message, error.remedy)


def surroundings(machine: Machine) -> Iterator[Check]:
    """Yield what engines tell of what they run on elsewhere."""
    for engine in machine.engines.values():
        if (found := engine.surroundings()) is not None:
            yield Check(engine.name, found.state, found.message, found.remedy)
