"""The route of the admin API behind `dmrc diff`: what it asks with lasts as long as its connection."""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator, Awaitable, Callable

from fastapi import APIRouter
from fastapi.responses import Response
from pydantic import Field
from starlette.types import Receive, Scope, Send

from dmrc.gateway.projects.diffs import Diff, Diffs, DiffSource, DiffWish
from dmrc.gateway.routes.admin_documents import AdminBody, OptionsForm
from dmrc.gateway.server.closing_stream import ClosingStream
from dmrc.project import ServingOptions


class DiffSourceBody(AdminBody):
    """A model that answered recorded requests."""

    project: str | None = Field(description="Compose project of those requests")
    model_key: str | None = Field(description="Its key there")
    reference: str = Field(description="Its full reference")


class DiffBody(AdminBody):
    """What is to answer these requests now."""

    name: str = Field(examples=["shop"], description="Of what the requests are")
    key_sha256: str = Field(description="Of the key that will be sent, in hex")
    sources: list[DiffSourceBody] = Field(min_length=1, description="What answered then")
    model: str | None = Field(default=None, description="What answers in their place; null: the same")
    options: OptionsForm = Field(default=ServingOptions(), description="What is different")
    upstream_keys: dict[str, str] = Field(default={}, description="Key of its upstream, by the variable that holds it")

    def wish(self) -> DiffWish:
        """Return it as a value."""
        return DiffWish(
            name=self.name,
            key_sha256=self.key_sha256,
            sources=tuple(DiffSource(**source.model_dump()) for source in self.sources),
            model=self.model,
            options=self.options,
            upstream_keys=self.upstream_keys,
        )


class DiffRoutes:
    """The handler."""

    def __init__(self, diffs: Diffs, ending: Callable[[], Awaitable[object]]) -> None:
        """Begin and end these; `ending` waits for the end of the daemon."""
        self._diffs = diffs
        self._ending = ending

    def add_to(self, router: APIRouter) -> None:
        router.post("/diffs", response_class=Response)(self.begin)

    async def begin(self, body: DiffBody) -> Response:
        """Make a key valid until the caller hangs up; the answer is one line of JSON, and then nothing.

        It says the name in the record, and of each source what answers now, with all options that are said.
        """
        diff = await self._diffs.begin(body.wish())
        return _DiffStream(self._diffs, diff, self._held(diff))

    async def _held(self, diff: Diff) -> AsyncGenerator[bytes]:
        models = [
            {"key": one.key, "model": one.model, "options": one.options.to_json(), "is_known": is_known}
            for one, is_known in zip(diff.models, diff.are_known, strict=True)
        ]
        yield json.dumps({"name": diff.registration.name, "models": models}).encode() + b"\n"
        await self._ending()


class _DiffStream(ClosingStream):
    """Ends the diff with itself, even where its caller has gone before its first byte."""

    def __init__(self, diffs: Diffs, diff: Diff, lines: AsyncGenerator[bytes]) -> None:
        super().__init__(lines, media_type="application/x-ndjson")
        self._diffs, self._diff = diffs, diff

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await super().__call__(scope, receive, send)
        finally:
            await self._diffs.end(self._diff)
