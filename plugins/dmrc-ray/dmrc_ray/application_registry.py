"""Who wants which application, and which replicas it has: one small actor for the whole cluster.

An application goes when the last who wanted it has left, or was not heard of for as long as it had asked for. The actor
ends when there are no applications any more; one that was killed is told anew by the heartbeats.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from typing import Any

import ray

from dmrc_ray import application
from dmrc_ray.order import Order
from dmrc_ray.replica_info import ReplicaInfo

_log = logging.getLogger(__name__)

NAMESPACE = "dmrc"
HEARTBEAT_SECONDS = 2.0
"""How often a bridge says that it is there."""

_NAME = "dmrc-application-registry"
_LOOK_SECONDS = 0.5
_WATCH_SECONDS = 20.0
_SILENCE_SECONDS = 10.0
_EMPTY_SECONDS = 2.0


@dataclass(slots=True)
class _Application:
    holders: dict[str, tuple[str, float]] = field(default_factory=dict)
    replicas: dict[str, tuple[ReplicaInfo, float]] = field(default_factory=dict)
    version: int = 0
    failure: str = ""
    known_since: float = field(default_factory=time.monotonic)
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)
    news: asyncio.Event = field(default_factory=asyncio.Event)
    removal: asyncio.Task[None] | None = None
    """What removes it as nobody wants it; Serve lets its requests end, which takes minutes."""

    def changed(self) -> None:
        self.version += 1
        self.news.set()
        self.news = asyncio.Event()


class ApplicationRegistry:
    """The actor; see `application_registry`."""

    def __init__(self) -> None:
        """Know nothing; the heartbeats tell it."""
        self._applications: dict[str, _Application] = {}
        self._empty_since = time.monotonic()
        self._looking: asyncio.Task[None] | None = None

    async def deploy(self, text: str, token: str) -> None:
        """Have an application deployed, unless it is there; `text` is an `Order`, `token` is the bridge's."""
        order = Order.from_json(text)
        self._begin()
        found = self._of(order.application)
        found.holders[order.holder] = (token, time.monotonic() + order.keep_seconds)
        async with found.lock:
            found.failure = ""
            await asyncio.to_thread(application.deploy, order)

    async def heartbeat(self, name: str, holder: str, token: str, seconds: float) -> None:
        """Hear that a bridge is there, and wants its application for so long when it is heard of no more."""
        self._begin()
        self._of(name).holders[holder] = (token, time.monotonic() + seconds)

    async def leave(self, name: str, holder: str, token: str) -> None:
        """Hear that a bridge has left; the application goes when it was the last. Returns when it is gone."""
        found = self._applications.get(name)
        if found is None or found.holders.get(holder, ("", 0.0))[0] != token:
            return
        del found.holders[holder]
        await self._remove_unwanted(name, found)

    async def announce(self, name: str, document: dict[str, Any]) -> None:
        """Hear of a replica, which tells so again and again; `document` is a `ReplicaInfo`."""
        self._begin()
        found, info = self._of(name), ReplicaInfo(**document)
        before = found.replicas.get(info.name)
        found.replicas[info.name] = (info, time.monotonic())
        if before is None or before[0] != info:
            found.changed()

    async def gone(self, name: str, replica: str, failure: str = "") -> None:
        """Hear that a replica is gone, and why where it could not start."""
        if (found := self._applications.get(name)) is not None:
            found.failure = failure or found.failure
            if found.replicas.pop(replica, None) is not None or failure:
                found.changed()

    async def watch(self, name: str, version: int) -> tuple[int, list[dict[str, Any]], str]:
        """Wait until it is another version, a while at most; return version, replicas and why the last start failed."""
        found = self._of(name)
        if found.version == version:
            with suppress(TimeoutError):
                await asyncio.wait_for(found.news.wait(), _WATCH_SECONDS)
        return found.version, [asdict(info) for info, _ in found.replicas.values()], found.failure

    async def is_empty(self) -> bool:
        """Return whether nobody has wanted anything for a moment."""
        return not self._applications and time.monotonic() - self._empty_since > _EMPTY_SECONDS

    def _of(self, name: str) -> _Application:
        return self._applications.setdefault(name, _Application())

    def _begin(self) -> None:
        if self._looking is None:
            self._looking = asyncio.get_running_loop().create_task(self._look())

    async def _look(self) -> None:
        """Let go of who is silent, and end when nothing is left."""
        while True:
            await asyncio.sleep(_LOOK_SECONDS)
            now = time.monotonic()
            for name, found in [*self._applications.items()]:
                silent = [each for each, (_, heard) in found.replicas.items() if now - heard > _SILENCE_SECONDS]
                for replica in silent:
                    await self.gone(name, replica)
                for holder in [each for each, (_, until) in found.holders.items() if until < now]:
                    del found.holders[holder]
                is_removed = found.removal is not None and not found.removal.done()
                if not found.holders and not is_removed and now - found.known_since > _SILENCE_SECONDS:
                    found.removal = asyncio.create_task(self._try_to_remove(name, found))
            if self._applications:
                self._empty_since = now
            elif now - self._empty_since > 10 * _EMPTY_SECONDS:
                ray.kill(ray.get_runtime_context().current_actor)

    async def _try_to_remove(self, name: str, found: _Application) -> None:
        try:
            await self._remove_unwanted(name, found)
        except Exception as error:  # noqa: BLE001 whatever the matter is with Serve: it is tried again
            _log.warning("application %s cannot be removed now: %s", name, error)

    async def _remove_unwanted(self, name: str, found: _Application) -> None:
        async with found.lock:
            if not found.holders and self._applications.get(name) is found:
                await _in_own_thread(application.remove, name)
                if not found.holders:
                    del self._applications[name]


async def _in_own_thread(work: Callable[[str], None], name: str) -> None:
    """Do what takes minutes without a thread of those that all share."""
    own = ThreadPoolExecutor(1, "removal")
    try:
        await asyncio.get_running_loop().run_in_executor(own, work, name)
    finally:
        own.shutdown(wait=False)


def application_registry() -> Any:
    """Return the actor of this cluster; it is begun where there is none. It stands beside Serve's own, on the head."""
    options: dict[str, Any] = {"name": _NAME, "namespace": NAMESPACE, "lifetime": "detached", "get_if_exists": True}
    head = any("node:__internal_head__" in node["Resources"] for node in ray.nodes())
    resources = {"node:__internal_head__": 0.001} if head else {}
    return (
        ray.remote(ApplicationRegistry)
        .options(num_cpus=0, max_restarts=-1, max_concurrency=1000, resources=resources, **options)
        .remote()
    )


def found_registry() -> Any:
    """Return the actor, or None where there is none."""
    try:
        return ray.get_actor(_NAME, NAMESPACE)
    except ValueError:
        return None
