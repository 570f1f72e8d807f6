"""What this dmrc does for another machine's, on the admin socket, to which ssh leads.

Whoever comes so is this user.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Mapping
from dataclasses import asdict

from fastapi import APIRouter, FastAPI, Request
from fastapi.responses import Response
from pydantic import Field

from dmrc.engines.choice import engine_for
from dmrc.engines.engine import Engine
from dmrc.engines.ssh.hosted_use import ENGINE, HOSTED, HostedUse
from dmrc.errors import DmrcError, FormatError, NotFoundError
from dmrc.exchange import Operation
from dmrc.gateway.inference.hosted_engine import HostedEngine, target_of
from dmrc.gateway.routes.admin_documents import AdminBody, OptionsForm
from dmrc.gateway.routes.documents import AnswerDocument
from dmrc.gateway.routes.replica_logs import LONGEST_LINES
from dmrc.gateway.routes.transfers import Transfers
from dmrc.gateway.serving.catalog import Catalog
from dmrc.log_tail import last_lines
from dmrc.models import Models
from dmrc.paths import Paths
from dmrc.scheduler.scheduler import Scheduler
from dmrc.scheduler.target import Target
from dmrc.sources import Progress, ProgressEvent
from dmrc.told_errors import error_document


class HostedBody(AdminBody):
    """A model, as another machine declares it."""

    model: str = Field(description="Its reference")
    options: OptionsForm
    operation: Operation | None = Field(default=None, description="What it is asked for; null is what it is for")

    def use(self) -> HostedUse:
        """Return it as a value."""
        return HostedUse(self.model, self.options, self.operation)


class HostedLog(HostedBody):
    """Of which model the log is wanted."""

    lines: int = Field(ge=0, le=LONGEST_LINES, description="How many of its last lines")


class HostedPull(AdminBody):
    """A model to bring here."""

    model: str = Field(description="Its reference")
    engine: str | None = Field(default=None, description="Engine that is to load it; null is any")


class HostedModelDocument(AnswerDocument):
    """What there is to say of a model."""

    digest: str | None
    mode: str
    server: str
    template: str | None
    context_size: int | None
    parallel: int | None
    name_there: str | None


class LogDocument(AnswerDocument):
    """The end of a log."""

    log: str


class HostedRoutes:
    """The handlers."""

    def __init__(
        self,
        models: Models,
        engines: Mapping[str, Engine],
        catalog: Catalog,
        scheduler: Scheduler,
        transfers: Transfers,
        paths: Paths,
    ) -> None:
        """Serve the models of the store."""
        self._models = models
        self._engines = engines
        self._catalog = catalog
        self._scheduler = scheduler
        self._transfers = transfers
        self._paths = paths

    def add_to(self, router: APIRouter) -> None:
        """Add the routes that manage."""
        router.post(f"{HOSTED}/pull", response_class=Response)(self.pull)
        router.post(f"{HOSTED}/describe", response_model=HostedModelDocument)(self.describe)
        router.post(f"{HOSTED}/load", response_model=HostedModelDocument)(self.load)
        router.post(f"{HOSTED}/log", response_model=LogDocument)(self.log)

    def mount_on(self, app: FastAPI) -> None:
        """Add the engines themselves: plain ASGI, so that streams stay streams."""
        app.mount(ENGINE, HostedEngine(self._catalog, self._scheduler))

    async def pull(self, request: Request, body: HostedPull) -> Response:
        """Pull a model; a line of JSON for each step, and the last one says how it ended."""
        engine = self._engines.get(body.engine) if body.engine else None

        def work(progress: Progress, cancelled: Callable[[], bool]) -> str:
            try:
                pulled = self._models.pull(
                    body.model, progress, cancelled=cancelled, formats=engine.formats if engine else None
                )
            except FormatError as error:
                try:
                    engine_for(self._engines, body.engine, error.model_format, body.model)
                except DmrcError as better:
                    return json.dumps({"error": error_document(better)})
                return json.dumps({"error": error_document(error)})
            except DmrcError as error:
                return json.dumps({"error": error_document(error)})
            return json.dumps({"pulled": asdict(pulled)})

        return await self._transfers.streamed(_PullEvents(), work, request)

    async def describe(self, body: HostedBody) -> dict[str, object]:
        """Tell what a model is; nothing is loaded."""
        return _told(await target_of(self._catalog, body.use()))

    async def load(self, body: HostedBody) -> dict[str, object]:
        """Load a model, and tell the same when it answers."""
        runner = await self._scheduler.load(await target_of(self._catalog, body.use()))
        session = runner.session
        return {
            **_told(runner.target),
            "parallel": runner.parallel,
            "name_there": session.model if session is not None else None,
        }

    async def log(self, body: HostedLog) -> dict[str, str]:
        """Tell the end of the log of its engine."""
        target = await target_of(self._catalog, body.use())
        path = self._paths.logs / f"runner-{target.key}.log"
        if not path.exists():
            raise NotFoundError(f"model '{body.model}' has no log: it has not run")
        return {"log": "".join(await asyncio.to_thread(last_lines, path, body.lines))}


def _told(target: Target) -> dict[str, object]:
    return {
        "digest": target.digest,
        "mode": target.mode,
        "server": target.server,
        "template": target.template,
        "context_size": target.context_size,
        "parallel": None,
        "name_there": None,
    }


class _PullEvents:
    """The lines of a pull; see `Events`."""

    def progress(self, event: ProgressEvent) -> bytes:
        return json.dumps({"progress": asdict(event)}).encode() + b"\n"

    def success(self, message: str) -> bytes:
        return message.encode() + b"\n"

    def error(self, message: str) -> bytes:
        return json.dumps({"error": {"kind": "RegistryError", "message": message, "remedy": None}}).encode() + b"\n"
