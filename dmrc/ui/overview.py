"""The overview: what happens now, what happened in the last hour, and what is wrong."""

from __future__ import annotations

import asyncio
import math
import shlex
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Generic, TypeVar

from fastapi import APIRouter
from fastapi.responses import HTMLResponse, Response, StreamingResponse

from dmrc import __version__
from dmrc.capture.queries import ExchangeFilter
from dmrc.capture.recent import Recent, ServiceHour, is_empty, read_recent
from dmrc.capture.summary import model_name, who
from dmrc.gateway.routes.documents import EVENTS
from dmrc.health.machine import checked
from dmrc.lens.record import services
from dmrc.lens.service import ServiceLook
from dmrc.ui.documents import HTML, HealthDocument, HourDocument
from dmrc.ui.overview_now import Now
from dmrc.ui.rendering import page, render

if TYPE_CHECKING:
    from dmrc.gateway.plugins.context import DaemonParts

_HOUR_SECONDS = 3600.0
_PARTS = 60
_ADVISED = 30  # requests of a service that the lens reads: it shares the interpreter with those that run
_MOST_ADVICE = 4
_KEPT_SECONDS = 30.0
_Found = TypeVar("_Found")
_NOBODY = "no project"


class _Kept(Generic[_Found]):
    """What takes a moment to find out, in a thread: one at a time, and no sooner again than after a while.

    Else those who load the page again and again would take all threads that other pages read by.
    """

    def __init__(self, find: Callable[[], list[_Found]]) -> None:
        self._find = find
        self._lock = asyncio.Lock()
        self._found: list[_Found] = []
        self._found_at = -math.inf

    async def get(self) -> list[_Found]:
        """Return what was found last, or is now."""
        async with self._lock:
            if time.monotonic() - self._found_at > _KEPT_SECONDS:
                self._found = await asyncio.to_thread(self._find)
                self._found_at = time.monotonic()
        return self._found


class OverviewPages:
    """The handlers."""

    def __init__(self, parts: DaemonParts) -> None:
        """Show what this daemon does."""
        self._parts = parts
        self._now = Now(parts)
        self._checks = _Kept(lambda: list(checked(parts)))
        self._looks = _Kept(lambda: services(parts.database, ExchangeFilter(), _ADVISED))

    def add_to(self, router: APIRouter) -> None:
        """Add the routes."""
        router.get("/ui/health", response_model=HealthDocument)(self.health)
        router.get("/ui/overview", response_class=Response, responses=HTML)(self.index)
        router.get("/ui/overview/now", response_class=Response, responses=EVENTS)(self.now)
        router.get("/ui/overview/hour", response_model=HourDocument)(self.hour)
        router.get("/ui/overview/checks", response_class=Response, responses=HTML)(self.checks)
        router.get("/ui/overview/advice", response_class=Response, responses=HTML)(self.advice)

    async def health(self) -> dict[str, object]:
        """Return what the foot of every page says of the daemon."""
        waiting = sum(runner.waiting for runner in self._parts.scheduler.runners())
        return {"version": __version__, "running": len(self._parts.lifecycle.running), "waiting": waiting}

    async def index(self) -> Response:
        """Return the page."""
        recent, empty = await asyncio.to_thread(self._read)
        start = await self._start() if empty else None
        return page("overview.html", here="overview", hour=_facts(recent), now=self._now.parts(), start=start)

    async def now(self) -> Response:
        """Stream what runs: tables when they change, and how far each answer has come."""
        headers = {"cache-control": "no-cache"}
        return StreamingResponse(self._now.events(), media_type="text/event-stream", headers=headers)

    async def hour(self) -> dict[str, object]:
        """Return the last hour: the numbers of the charts, and what is said of it as a part of the page."""
        recent, _ = await asyncio.to_thread(self._read)
        return {
            "start": recent.start,
            "end": recent.end,
            "requests": [count - failed for count, failed in zip(recent.requests, recent.failed, strict=True)],
            "failed": recent.failed,
            "services": [_tokens(one) for one in recent.services],
            "html": render("overview_hour.html", hour=_facts(recent)),
        }

    async def checks(self) -> Response:
        """Return what `dmrc doctor` finds of this machine, without a page: it starts programs and asks Docker."""
        return HTMLResponse(render("overview_checks.html", checks=await self._checks.get()))

    async def advice(self) -> Response:
        """Return what the lens says of the prompt cache, without a page. It reads many prompts."""
        told = [one for one in await self._looks.get() if one.causes and one.again]
        return HTMLResponse(render("overview_advice.html", advice=[_advice(one) for one in told[:_MOST_ADVICE]]))

    def _read(self) -> tuple[Recent, bool]:
        path, end = self._parts.settings.paths.exchanges, time.time()
        recent = read_recent(path, end - _HOUR_SECONDS, end, _PARTS)
        return recent, not any(recent.requests) and is_empty(path)

    async def _start(self) -> dict[str, str]:
        """Return what somebody needs who has asked nothing yet."""
        names = sorted(name for name, _ in await self._parts.catalog.names(None))
        model = model_name(names[0]) if names else "ai/smollm2"
        url = f"http://127.0.0.1:{self._parts.settings.port}/engines/v1"
        body = f'{{"model": "{model}", "messages": [{{"role": "user", "content": "Hello!"}}]}}'
        curl = f"curl {url}/chat/completions \\\n  -H 'content-type: application/json' \\\n  -d {shlex.quote(body)}"
        return {"url": url, "curl": curl, "model": model, "pull": "" if names else f"dmrc pull {model}"}


def _facts(recent: Recent) -> dict[str, object]:
    """Return the last hour as its part of the page shows it."""
    requests, failed = sum(recent.requests), sum(recent.failed)
    return {
        "requests": requests,
        "failed": failed,
        "failed_share": failed / requests if requests else None,
        "prompt_tokens": sum(sum(one.prompt_tokens) for one in recent.services),
        "completion_tokens": sum(sum(one.completion_tokens) for one in recent.services),
        "p50_ms": recent.p50_ms,
        "p95_ms": recent.p95_ms,
        "failures": recent.failures,
    }


def _tokens(one: ServiceHour) -> dict[str, object]:
    name = who(one.project, one.service, None) or _NOBODY
    link = {"project": one.project or "", "service": one.service or ""}
    return {
        "name": name,
        "link": {key: value for key, value in link.items() if value},
        "requests": one.requests,
        "failed": one.failed,
        "prompt_tokens": one.prompt_tokens,
        "completion_tokens": one.completion_tokens,
    }


def _advice(found: ServiceLook) -> dict[str, object]:
    newest, cause = found.looks[-1].exchange, found.causes[0]
    return {
        "who": who(newest.project, newest.service, newest.client_address),
        "model": model_name(newest.model_reference or newest.model_requested),
        "numbers": found.numbers,
        "sentence": cause.sentence(found.compared),
        "example": cause.example.exchange.id,
    }
