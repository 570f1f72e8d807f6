"""Which container has an address: from the caller of a request to its compose service."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import threading
import time
from collections.abc import Callable, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass

_log = logging.getLogger(__name__)

_FRESH_SECONDS = 5.0
_REMEMBERED_SECONDS = 60.0
_ANSWER_SECONDS = 3
# Docker's list follows its containers with a delay: one that asks in its first moment is not there yet.
_PATIENCE_SECONDS = 0.5
_AGAIN_SECONDS = 0.05


@dataclass(frozen=True, slots=True)
class Container:
    """A running container."""

    id: str
    """First 12 hex digits of its id, as Docker prints it."""
    project: str | None
    """Its compose project, by the label that Compose sets."""
    service: str | None
    """Its compose service, likewise."""


class _Question:
    """Who has an address, while that is being asked."""

    def __init__(self, asked_at: float) -> None:
        self.asked_at = asked_at
        self.answer: Future[Container | None] = Future()
        self.answer.set_running_or_notify_cancel()  # one of several who gives up does not cancel it for the others

    @property
    def seconds_left(self) -> float:
        """Return how long it is worth a wait."""
        return max(0.0, self.asked_at + _ANSWER_SECONDS - time.monotonic())


class Containers:
    """Addresses of containers, asked of Docker in a thread of its own and remembered for a few seconds.

    Whoever holds an address may have taken it, and an answer is up to five seconds old: this is for the record, and for
    permission only where a project says so.
    """

    def __init__(self, docker_hosts: Callable[[], Iterable[str]]) -> None:
        """Ask the engines that `docker_hosts` returns (`unix:///…`); none is asked before the first `look`."""
        self._docker_hosts = docker_hosts
        self._thread = ThreadPoolExecutor(1, "dmrc-containers")
        self._lock = threading.Lock()
        self._known: dict[str, tuple[Container | None, float]] = {}
        self._wanted: dict[str, _Question] = {}
        self._is_asking = False

    def look(self, address: str) -> None:
        """Begin to ask who has `address`, unless that is known. Returns at once.

        To be called while the container surely runs: one that ends with its request is gone when its record is written.
        """
        now = time.monotonic()
        with self._lock:
            if address in self._known and now - self._known[address][1] < _FRESH_SECONDS:
                return
            if address not in self._wanted:
                self._wanted[address] = _Question(now)
            if not self._is_asking:
                self._is_asking = True
                self._thread.submit(self._ask)

    def find(self, address: str) -> Container | None:
        """Return who has `address`; blocks while that is being asked, until 3 seconds after the `look` at most."""
        question = self._wanted.get(address)
        if question is not None:
            with contextlib.suppress(TimeoutError):
                question.answer.result(question.seconds_left)
        return self._known.get(address, (None, 0.0))[0]

    async def found(self, address: str) -> Container | None:
        """Do what `look` and then `find` do, on an event loop; no thread waits for it."""
        self.look(address)
        question = self._wanted.get(address)
        if question is not None:
            waiting = asyncio.wrap_future(question.answer)
            try:
                await asyncio.wait({waiting}, timeout=question.seconds_left)
            finally:
                waiting.cancel()
        return self._known.get(address, (None, 0.0))[0]

    def close(self) -> None:
        """End the thread; an answer that is awaited is not waited for."""
        self._thread.shutdown(wait=False, cancel_futures=True)

    def _ask(self) -> None:
        """Ask until nothing is wanted any more."""
        while True:
            with self._lock:
                wanted = list(self._wanted)
                if not wanted:
                    self._is_asking = False
                    return
            found: dict[str, Container] = {}
            patience = _PATIENCE_SECONDS
            try:
                for host in sorted(set(self._docker_hosts())):
                    found |= _addresses(host)
            except Exception:  # noqa: BLE001 the border of this thread
                # A future keeps what it raises to itself, and those who wait would wait for every answer from then on.
                _log.exception("asking Docker who has an address failed")
                patience = 0.0
            with self._lock:
                now = time.monotonic()
                kept = {one: pair for one, pair in self._known.items() if now - pair[1] < _REMEMBERED_SECONDS}
                settled = [one for one in wanted if one in found or now - self._wanted[one].asked_at >= patience]
                self._known = kept | {address: (found.get(address), now) for address in {*found, *settled}}
                questions = {address: self._wanted.pop(address) for address in settled}
            for address, question in questions.items():
                question.answer.set_result(found.get(address))
            if len(settled) < len(wanted):
                time.sleep(_AGAIN_SECONDS)


def _addresses(docker_host: str) -> dict[str, Container]:
    """Return the running containers of an engine by their addresses; none where it does not answer."""
    import docker
    import docker.errors
    import requests

    try:
        client = docker.APIClient(base_url=docker_host, timeout=_ANSWER_SECONDS)
        try:
            # All: one that asks as soon as it starts does not count as running yet. Stopped ones have no address.
            listed = client.containers(all=True)
        finally:
            client.close()
    except (docker.errors.DockerException, requests.RequestException) as error:
        _log.info("Docker at %s does not say which containers run: %s", docker_host, error)
        return {}
    found = {}
    for entry in listed:
        labels = entry.get("Labels") or {}
        container = Container(
            str(entry["Id"])[:12], labels.get("com.docker.compose.project"), labels.get("com.docker.compose.service")
        )
        networks = (entry.get("NetworkSettings") or {}).get("Networks") or {}
        for network in networks.values():
            for key in ("IPAddress", "GlobalIPv6Address"):
                if network.get(key):
                    found[str(network[key])] = container
    return found
