"""Docker Model Runner's routes for a model as one file: `/models/{name}/export` and `/models/load`.

Source: https://github.com/docker/model-runner/blob/main/pkg/inference/models/http_handler.go
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import re
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing

from fastapi import FastAPI, Request
from fastapi.responses import Response
from starlette.requests import ClientDisconnect

from dmrc.errors import CancelledError
from dmrc.gateway.routes.dmr_documents import ARCHIVE, ARCHIVE_BODY, LINES
from dmrc.gateway.routes.error_documents import OpenAIError
from dmrc.gateway.routes.management import admit_manager
from dmrc.gateway.routes.progress_events import ModelEvents
from dmrc.gateway.routes.transfers import Transfers
from dmrc.gateway.server.admission import Admission
from dmrc.gateway.server.closing_stream import ClosingStream
from dmrc.gateway.server.typed_routes import include, route_class, typed_router
from dmrc.models.archives import Archive, load_archive
from dmrc.sources import ProgressEvent
from dmrc.store import Store

_LOOK_SECONDS = 0.2


class DmrArchives:
    """The handlers. They are for the user of this machine: no service's key opens them."""

    def __init__(self, admission: Admission, store: Store, default_registry: str, transfers: Transfers) -> None:
        """Read from `store`, and add to it; `transfers` runs both."""
        self._transfers = transfers
        self._admission = admission
        self._store = store
        self._default_registry = default_registry

    def add_to(self, app: FastAPI) -> None:
        """Add the routes, before those that take any name."""
        router = typed_router(route_class(admit_manager(self._admission)), "Docker Model Runner", OpenAIError)
        router.get("/models/{name:path}/export", response_class=Response, responses=ARCHIVE)(self.export)
        router.post("/models/load", response_class=Response, responses=LINES, openapi_extra=ARCHIVE_BODY)(self.load)
        include(app, router)

    async def export(self, name: str) -> Response:
        """Return a model as one file, which `POST /models/load` and `docker model load` take."""
        model = await asyncio.to_thread(self._store.resolve, name, self._default_registry)
        archive = await self._transfers.run(lambda _cancelled: Archive(self._store, model))
        file_name = re.sub(r"[^\w.-]+", "-", name.rpartition("/")[2])
        headers = {
            "content-disposition": f'attachment; filename="{file_name}.tar"',
            "content-length": str(archive.size_bytes),
        }
        return ClosingStream(self._pieces(archive), "application/x-tar", headers)

    async def _pieces(self, archive: Archive) -> AsyncGenerator[bytes]:
        """Yield an archive."""
        try:
            async with aclosing(self._transfers.pieces(archive.__iter__)) as pieces:
                async for piece in pieces:
                    yield piece
        finally:
            self._admission.bodies.give_back_soon()

    async def load(self, request: Request) -> Response:
        """Take the archive, then answer: whoever sends it reads nothing before its last byte anyway."""
        events, lines = ModelEvents("pull"), list[bytes]()

        def progress(event: ProgressEvent) -> None:
            lines.append(events.progress(event))

        body = _Body(request)
        try:
            await self._transfers.run(lambda cancelled: load_archive(self._store, body.until(cancelled), progress))
        except ClientDisconnect:
            raise CancelledError("the caller went away before the end of the archive") from None
        return Response(b"".join(lines) + events.success("Model loaded successfully"), media_type="application/json")


class _Body:
    """The body of a request, read from another thread than the event loop's."""

    def __init__(self, request: Request) -> None:
        self._chunks = request.stream()
        self._loop = asyncio.get_running_loop()
        self._cancelled: Callable[[], bool] = lambda: False

    def until(self, cancelled: Callable[[], bool]) -> _Body:
        """Return itself, which waits for no byte any more when it is cancelled."""
        self._cancelled = cancelled
        return self

    def read(self, _size: int) -> bytes:
        """Return the next bytes as they came; see `ByteStream`."""
        reading = asyncio.run_coroutine_threadsafe(self._next(), self._loop)
        while not concurrent.futures.wait((reading,), _LOOK_SECONDS).done:
            if self._cancelled():
                reading.cancel()
                raise CancelledError("the upload was cancelled")
        return reading.result()

    async def _next(self) -> bytes:
        return await anext(self._chunks, b"")
