"""One of several upstreams that serve the same model, and whether it is asked now."""

from __future__ import annotations

import asyncio
import time
from hashlib import blake2b
from urllib.parse import urlsplit

from dmrc.engines.replicas import ReplicaState
from dmrc.engines.upstream.session import UpstreamAnswer, UpstreamSession
from dmrc.errors import UpstreamError
from dmrc.project import UpstreamPlace
from dmrc.retry_after import retry_after_seconds

_PAUSES_SECONDS = (0.0, 0.5, 1.0, 2.0, 5.0, 10.0)
_LONGEST_REST_SECONDS = 60.0


class UpstreamReplica:
    """An upstream with a client of its own, which has its key and no other's. For one event loop."""

    def __init__(self, name: str, upstream: UpstreamPlace, key: str | None, slots: int) -> None:
        """Call it `name`, and give it at most `slots` requests at the same time as long as others have any left."""
        self.name = name
        self.model = upstream.model
        self.node = urlsplit(upstream.url).hostname
        self.slots = slots
        self.in_use = 0
        self.last_asked = 0.0
        """When a request went to it last, on the monotonic clock."""
        self.is_ready = False
        """Whether requests go to it; else it is asked again and again whether it is there."""
        self.why = f"upstream '{upstream.url}' has not answered yet"
        """Why it is not ready, as a sentence without a full stop."""
        self.failures = 0
        """How often it has failed since its last complete answer."""
        self.looks = 0
        """How often it was asked whether it is there."""
        self.is_wanted_now = asyncio.Event()
        """Ends the pause before the next time that it is asked."""
        self.session = UpstreamSession(upstream, key)
        self._rest_seconds: float | None = None

    @property
    def has_free_slot(self) -> bool:
        """Return whether it has fewer requests than it serves at the same time."""
        return self.in_use < self.slots

    def state(self) -> ReplicaState:
        """Return it as others may see it."""
        return ReplicaState(self.name, self.node, "ready" if self.is_ready else "starting", self.slots, self.in_use)

    def weight(self, conversation: str) -> bytes:
        """Return its rank for a conversation, which is the highest one's, whatever other upstreams there are.

        Source: rendezvous hashing, Thaler and Ravishankar, "Using name-based mappings to increase hit rates", 1998.
        """
        return blake2b(f"{self.name}\0{conversation}".encode(), digest_size=8).digest()

    def failed(self, why: str) -> None:
        """Leave it out: it could not be reached, or broke an answer off."""
        self.is_ready, self.why = False, why
        self.failures += 1

    def refused(self, answer: UpstreamAnswer) -> str:
        """Leave it out for as long as its refusal, 429 or 503, says, or its failures; return the refusal in words."""
        why = f"{self.session.name} answered {answer.status}"
        told = retry_after_seconds(answer.headers.get("retry-after", ""))
        if told is not None:
            self._rest_seconds = min(told, _LONGEST_REST_SECONDS)
        if self._rest_seconds is not None or answer.status == 503:
            self.failed(why)
        return why

    async def rest(self) -> None:
        """Wait until it is time to ask it, or until somebody wants it now."""
        pause = _PAUSES_SECONDS[min(max(self.failures - 1, 0), len(_PAUSES_SECONDS) - 1)]
        try:
            async with asyncio.timeout(pause if self._rest_seconds is None else self._rest_seconds):
                await self.is_wanted_now.wait()
        except TimeoutError:
            pass
        self._rest_seconds = None
        self.is_wanted_now.clear()

    async def look(self) -> None:
        """Ask whether it is there; it is ready then."""
        try:
            status = await self.session.check()
            if status >= 500:
                raise UpstreamError(f"{self.session.name} answered {status}")
        except UpstreamError as error:
            self.failed(error.message)
        else:
            self.is_ready = True
        finally:
            self.looks += 1

    def take(self) -> None:
        """Count one request more, which whoever sends it takes back from `in_use`."""
        self.in_use += 1
        self.last_asked = time.monotonic()
