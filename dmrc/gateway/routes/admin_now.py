"""What happens now, for `dmrc top`: requests that run, runners, memory; and how one of the requests is ended."""

from __future__ import annotations

import time
from dataclasses import asdict
from functools import partial

from fastapi import APIRouter
from fastapi.responses import Response
from pydantic import Field

from dmrc import __version__
from dmrc.background import apart
from dmrc.capture.live import LiveEvents
from dmrc.capture.recorder import Recorder
from dmrc.capture.summary import short_id
from dmrc.errors import NotFoundError
from dmrc.gateway.inference.lifecycle import Lifecycle
from dmrc.gateway.routes.admin_documents import Flushed, RunnerDocument
from dmrc.gateway.routes.documents import EVENTS, AnswerDocument
from dmrc.gateway.routes.requests import EventStream, live_events
from dmrc.project import DEFAULT_ENGINE
from dmrc.scheduler.description import describe_runner
from dmrc.scheduler.scheduler import Scheduler

_FLUSH_SECONDS = 2.0


class RunningRequest(AnswerDocument):
    """A request that is not answered yet."""

    id: str
    received_at: float
    project: str | None
    service: str | None
    client_address: str | None
    operation: str
    model: str | None
    stream: bool
    prompt: str = Field(description="Its first words; empty where they may not be on record")
    pieces: int = Field(description="Of its answer, that were sent so far; of a stream each is about a token")


class CardNow(AnswerDocument):
    """A graphics card, as its engine saw it last."""

    name: str
    description: str
    total_bytes: int
    free_bytes: int


class DaemonNow(AnswerDocument):
    """What happens now."""

    version: str
    now: float = Field(description="Unix seconds")
    running: list[RunningRequest] = Field(description="The oldest first")
    runners: list[RunnerDocument]
    ram_total_bytes: int
    ram_free_bytes: int
    cards: list[CardNow]


class CancelledExchange(AnswerDocument):
    """A request that was told to end."""

    cancelled: str = Field(description="Id of its exchange")


class NowRoutes:
    """The handlers of the admin API."""

    def __init__(self, lifecycle: Lifecycle, scheduler: Scheduler, live: LiveEvents, recorder: Recorder) -> None:
        """Look at these."""
        self._lifecycle = lifecycle
        self._scheduler = scheduler
        self._live = live
        self._recorder = recorder

    def add_to(self, router: APIRouter) -> None:
        router.get("/now", response_model=DaemonNow)(self.now)
        router.get("/requests/live", response_class=Response, responses=EVENTS)(self.live)
        router.post("/requests/flush", response_model=Flushed)(self.flush)
        router.post("/requests/{id}/cancel", response_model=CancelledExchange)(self.cancel)

    async def now(self) -> dict[str, object]:
        """Return what happens now."""
        running = list(self._lifecycle.running.values())
        outlook = self._scheduler.outlook
        ram = outlook.rooms(DEFAULT_ENGINE)
        cards = [card for name in self._scheduler.devices.last for card in outlook.rooms(name).now.cards]
        return {
            "version": __version__,
            "now": time.time(),
            "running": [
                {"prompt": "", **asdict(self._lifecycle.beginning(one)), "pieces": one.chunks} for one in running
            ],
            "runners": [describe_runner(runner) for runner in self._scheduler.runners()],
            "ram_total_bytes": ram.total_bytes,
            "ram_free_bytes": max(0, ram.now.ram_bytes),
            "cards": [
                {
                    "name": card.device.name,
                    "description": card.device.description,
                    "total_bytes": card.device.total_bytes,
                    "free_bytes": card.free_bytes,
                }
                for card in cards
            ],
        }

    async def live(self) -> Response:
        """Stream requests as they start and complete."""
        return EventStream(live_events(self._live))

    async def flush(self) -> dict[str, bool]:
        """Answer when what was recorded so far is on disk, or cannot be written soon."""
        return {"written": await apart(partial(self._recorder.flush, _FLUSH_SECONDS), "flush")}

    async def cancel(self, id: str) -> dict[str, str]:
        """End a request that waits or runs; its caller gets an error."""
        if not self._lifecycle.cancel(id):
            raise NotFoundError(f"request {short_id(id)} has ended already, or is none")
        return {"cancelled": id}
