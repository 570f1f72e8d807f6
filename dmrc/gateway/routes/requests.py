"""The record of requests over HTTP: what happens now, and Docker Model Runner's `/engines/requests`.

Source of the shapes: https://github.com/docker/model-runner/blob/main/pkg/metrics/openai_recorder.go
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator
from dataclasses import asdict
from typing import Annotated

from fastapi import FastAPI, Header
from fastapi.responses import Response

from dmrc.capture.conversation import answer_document
from dmrc.capture.database import ExchangeDatabase
from dmrc.capture.live import Completed, LiveEvents, MissedEvents
from dmrc.capture.queries import ExchangeFilter, is_shown
from dmrc.capture.summary import to_json
from dmrc.errors import PermissionDeniedError
from dmrc.exchange import Exchange
from dmrc.gateway.routes.dmr_documents import RecordGroup
from dmrc.gateway.routes.error_documents import OpenAIError
from dmrc.gateway.server.admission import Admission
from dmrc.gateway.server.closing_stream import ClosingStream
from dmrc.gateway.server.typed_routes import CallerOf, QueryFlag, include, route_class, typed_router

_RECORDS_PER_MODEL = 10
_LOOKED_AT = 500
_HEARTBEAT_SECONDS = 15.0
_HEARTBEAT = b": still here\n\n"


class EventStream(ClosingStream):
    """Server-Sent Events."""

    def __init__(self, events: AsyncGenerator[bytes]) -> None:
        """Send these, one by one."""
        super().__init__(events, media_type="text/event-stream", headers={"cache-control": "no-cache"})


async def live_events(live: LiveEvents) -> AsyncGenerator[bytes]:
    """Yield an event for each request that starts (`started`) or completes (`completed`), without content.

    `missed` says how many events a listener was too slow for.
    """
    with live.watching() as subscriber:
        yield _event("connected", {})
        while not live.is_closed:
            event = await subscriber.next(_HEARTBEAT_SECONDS)
            if event is None:
                yield _HEARTBEAT
            elif isinstance(event, Completed):
                document = to_json(event.exchange, with_content=False)
                yield _event("completed", {**document, "excerpt": event.excerpt})
            else:
                yield _event("missed" if isinstance(event, MissedEvents) else "started", asdict(event))


class History:
    """Answers `GET /engines/requests`: on loopback about all requests, for a service's key about its project's."""

    def __init__(self, admission: Admission, database: ExchangeDatabase, live: LiveEvents) -> None:
        """Read from the database; it is only read."""
        self._admission = admission
        self._database = database
        self._live = live

    def add_to(self, app: FastAPI) -> None:
        """Add the route."""
        router = typed_router(route_class(self._admission.admit), "Docker Model Runner", OpenAIError)
        router.get("/engines/requests", response_model=list[RecordGroup])(self.records)
        include(app, router)

    async def records(
        self,
        caller: CallerOf,
        model: str | None = None,
        include_existing: QueryFlag = False,
        accept: Annotated[str, Header()] = "",
        origin: Annotated[str | None, Header()] = None,
    ) -> Response | list[dict[str, object]]:
        """Return the last 10 records of each model, or of `?model=`; or a stream where the caller accepts one.

        The stream sends each record as its request completes, with `?include_existing=true` those of the past first.

        Raises:
            PermissionDeniedError: A web page asks, and has no key: pages may ask models, not read what others asked.
        """
        if caller is None and origin is not None:
            raise PermissionDeniedError("a page may not read the record without a key", remedy="Run: dmrc requests")
        query = ExchangeFilter(project=caller.registration.name if caller else None, model=model)
        if "text/event-stream" not in accept:
            return await asyncio.to_thread(past_groups, self._database, query)
        return EventStream(self._stream(query, existing=include_existing))

    async def _stream(self, query: ExchangeFilter, *, existing: bool) -> AsyncGenerator[bytes]:
        with self._live.watching() as subscriber:
            for exchanges in (await asyncio.to_thread(_past, self._database, query)).values() if existing else ():
                for exchange in exchanges:
                    yield _event("existing_request", [_group([exchange])])
            yield _event("connected", {"status": "connected"})
            while not self._live.is_closed:
                event = await subscriber.next(_HEARTBEAT_SECONDS)
                if event is None:
                    yield _HEARTBEAT
                elif isinstance(event, MissedEvents):
                    yield _event("error", {"error": f"{event.count} records were missed: read faster"})
                elif isinstance(event, Completed) and is_shown(event.exchange, query):
                    # It reads the answer.
                    yield _event("new_request", [await asyncio.to_thread(_group, [event.exchange])])


def past_groups(database: ExchangeDatabase, query: ExchangeFilter) -> list[dict[str, object]]:
    """Return the last 10 records of each model, the oldest first.

    Shape: `[{"count": 1, "model": "sha256:…", "config": {"context-size": 512}, "records": [{"id": "…",
    "request": "{…}", "response": "{…}", "timestamp": 1764000000, "status_code": 200, …}]}]`
    """
    return [_group(exchanges) for exchanges in _past(database, query).values()]


def _past(database: ExchangeDatabase, query: ExchangeFilter) -> dict[str, list[Exchange]]:
    groups: dict[str, list[Exchange]] = {}
    for exchange in database.page(query, _LOOKED_AT):
        group = groups.setdefault(_model(exchange), [])
        if len(group) < _RECORDS_PER_MODEL:
            group.insert(0, database.get(exchange.id))
    return groups


def _model(exchange: Exchange) -> str:
    return exchange.model_digest or exchange.model_requested or ""


def _group(exchanges: list[Exchange]) -> dict[str, object]:
    context = exchanges[-1].context_tokens
    config = {} if context is None else {"context-size": context}
    records = [_record(exchange) for exchange in exchanges]
    return {"count": len(records), "model": _model(exchanges[-1]), "config": config, "records": records}


def _record(exchange: Exchange) -> dict[str, object]:
    failed = (exchange.status or 0) >= 400 or exchange.error_type is not None
    body = exchange.response_body.decode("utf-8", "replace")
    if not failed and (document := answer_document(exchange)):
        body = json.dumps(document, ensure_ascii=False)
    record = {
        "id": exchange.id,
        "model": exchange.model_requested or "",
        "method": exchange.method,
        "url": exchange.path,
        "request": exchange.request_body.decode("utf-8", "replace"),
        "error" if failed else "response": body,
        "timestamp": int(exchange.received_at),
        "status_code": exchange.status or 408,
        "user_agent": exchange.user_agent,
        "origin": exchange.request_headers.get("x-request-origin"),
    }
    return {name: value for name, value in record.items() if value is not None}


def _event(name: str, data: object) -> bytes:
    return f"event: {name}\ndata: {json.dumps(data)}\n\n".encode()
