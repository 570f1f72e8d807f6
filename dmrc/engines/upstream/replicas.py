"""Several upstreams of one model: which of them is there, and which gets the next request."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Collection, Sequence

from dmrc.background import BackgroundTasks
from dmrc.engines.replicas import ReplicaState
from dmrc.engines.upstream.replica import UpstreamReplica
from dmrc.errors import UnsupportedError, UpstreamError

_log = logging.getLogger(__name__)


class UpstreamReplicas:
    """The upstreams that one model has; see `Replicas`. One that fails is left out until it answers again."""

    def __init__(self, model: str, replicas: Sequence[UpstreamReplica]) -> None:
        """Know the upstreams of `model`, of which none is asked before `first_ready`."""
        self._model = model
        self._all = tuple(replicas)
        self._changed = asyncio.Event()
        self._tasks = BackgroundTasks("the look after an upstream")
        self._watched: set[UpstreamReplica] = set()
        self._is_closed = False

    @property
    def slots(self) -> int:
        """Return those of all that are ready; where none is, those of all, whose callers are told why."""
        ready = sum(one.slots for one in self._all if one.is_ready)
        return ready or sum(one.slots for one in self._all)

    @property
    def notice(self) -> str | None:
        """Return which ones are left out, and why; one that has not had the time to answer yet is not named."""
        out = [one.why for one in self._all if not one.is_ready and one.failures]
        return f"{len(out)} of {len(self._all)} upstreams get no requests: {'; '.join(out)}" if out else None

    def now(self) -> Sequence[ReplicaState]:
        """Return the upstreams in the order in which they were declared."""
        return [one.state() for one in self._all]

    async def changed(self) -> None:
        """Wait until one is left out or is back."""
        await self._changed.wait()

    async def log(self, name: str, lines: int) -> str:
        """Refuse: it is on its own machine."""
        del lines
        raise UnsupportedError(f"the log of upstream '{name}' is where it runs", remedy="Read it there")

    def choose(self, conversation: str | None, without: Collection[UpstreamReplica] = ()) -> UpstreamReplica | None:
        """Return which upstream gets a request: that with the fewest, or the conversation's own; None: none is ready.

        A conversation stays with one upstream as long as that has free slots, for it has the prompt in its cache. Of
        several with equally few requests it is the one that was asked longest ago.
        """
        ready = [one for one in self._all if one.is_ready and one not in without]
        if not ready:
            return None
        if conversation is not None:
            free = [one for one in ready if one.has_free_slot] or ready
            return max(free, key=lambda one: one.weight(conversation))
        return min(ready, key=lambda one: (one.in_use, one.last_asked))

    async def first_ready(self, without: Collection[UpstreamReplica] = ()) -> bool:
        """Ask all at once that are not ready, and wait for the first that is; return False when none is."""
        looks = {one: one.looks for one in self._all if not one.is_ready and one not in without}
        for one in looks:
            one.is_wanted_now.set()
            self.watch(one)
        while not any(one.is_ready for one in looks):
            if self._is_closed or all(one.looks > before for one, before in looks.items()):
                return False
            await self._changed.wait()
        return True

    def watch(self, replica: UpstreamReplica) -> None:
        """Ask one that is not ready until it is; it counts as left out from now on."""
        self._announce()
        if replica not in self._watched and not self._is_closed:
            self._watched.add(replica)
            self._tasks.spawn(self._until_ready(replica))

    def none_answers(self) -> UpstreamError:
        """Return the error that says of each why it is not asked."""
        whys = "; ".join(one.why for one in self._all)
        return UpstreamError(
            f"no upstream of model '{self._model}' answers: {whys}", remedy="Check that they run, and x-dmrc.upstream"
        )

    async def close(self) -> None:
        """End the connections."""
        self._is_closed = True
        await self._tasks.close()
        self._announce()
        for one in self._all:
            await one.session.close()

    async def _until_ready(self, replica: UpstreamReplica) -> None:
        told = None
        try:
            while True:
                await replica.rest()
                await replica.look()
                self._announce()
                if replica.is_ready:
                    break
                if replica.why != told and replica.failures > 1:
                    _log.warning("an upstream of model '%s' is left out: %s", self._model, replica.why)
                    told = replica.why
        finally:
            self._watched.discard(replica)
            self._announce()
        if told is not None:
            _log.info("upstream '%s' of model '%s' is back", replica.name, self._model)

    def _announce(self) -> None:
        self._changed.set()
        self._changed = asyncio.Event()
