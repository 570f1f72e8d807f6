"""One request on its way through the filters of plugins. Where none is loaded, this costs two looks into a table."""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import aclosing, asynccontextmanager

from dmrc.errors import RefusedError
from dmrc.event_stream import STREAM_TYPES
from dmrc.exchange import JsonValue
from dmrc.gateway.inference.exchange_builder import ExchangeBuilder
from dmrc.hooks.event_types import Refusal, Request, Response
from dmrc.hooks.filters import filter_request, filter_stream, for_plugins_answers
from dmrc.hooks.pieces import Closes, pieces_of
from dmrc.hooks.plugin import Implementation
from dmrc.hooks.plugins import NOBODY, Plugins
from dmrc.hooks.streams import PassingAnswer
from dmrc.project import ServingOptions
from dmrc.projects import Caller
from dmrc.scheduler.target import Target

_NOBODYS = frozenset((NOBODY,))


class Filters:
    """The filters that one request passes: everybody's, and those of its project."""

    def __init__(self, plugins: Plugins, caller: Caller | None, builder: ExchangeBuilder) -> None:
        """Look them up."""
        is_of_project = caller is not None and not caller.is_named_key
        projects = frozenset((caller.registration.name,)) if caller and is_of_project else _NOBODYS
        self.stream: Sequence[Implementation] = plugins.implementations("dmrc_response_stream", projects)
        self._request = plugins.implementations("dmrc_request", projects)
        self._caller = caller
        self._builder = builder

    async def answer(self) -> bool:
        """Let filters change the request, and return whether one of them has answered it.

        Raises:
            RefusedError: One of them refuses it.
        """
        if not self._request:
            return False
        seen = self._builder
        project = self._caller.registration.to_project() if self._caller else None
        request = Request(path=seen.path, body=seen.document, headers=seen.forwarded_headers())
        filtered = await filter_request(self._request, seen.so_far(), request, project)
        seen.annotations.update(filtered.annotations)
        if filtered.changed_by:
            seen.changed_request(filtered.request.body, filtered.request.headers)
        answer, answerer = filtered.answer, filtered.answerer
        if isinstance(answer, Refusal):
            refused = RefusedError(
                answer.message,
                status=answer.status,
                error_type=answer.error_type,
                retry_after_seconds=answer.retry_after_seconds,
            )
            refused.code = answer.code
            raise refused
        if answer is not None and answerer is not None:
            await self._send(answer, answerer)
        return answer is not None

    async def chunks(self, stream: AsyncIterator[bytes], answered_by: str | None = None) -> AsyncGenerator[bytes]:
        """Yield an answer as the filters leave it; to be asked where `stream` of this object is not empty."""
        changed_by: list[str] = []
        passing = PassingAnswer(exchange=self._builder.so_far(), answered_by=answered_by, annotate=self._annotate)
        filtered = filter_stream(self.stream, passing, stream, changed_by)
        try:
            async for chunk in filtered:
                yield chunk
        finally:
            await filtered.aclose()
            if changed_by:
                self._builder.annotations["stream_changed_by"] = [*changed_by]

    async def whole(self, body: bytes) -> bytes:
        """Return an answer that is no stream as the filters leave it: for them it is a stream of one chunk."""
        if not self.stream:
            return body
        return b"".join([chunk async for chunk in self.chunks(_once(body))])

    def _annotate(self, **notes: JsonValue) -> None:
        """Leave notes of a filter; see `Annotate`."""
        json.dumps(notes)
        for name, value in notes.items():
            if value is None:
                self._builder.annotations.pop(name, None)
            else:
                self._builder.note(name, value)

    async def _send(self, response: Response, answerer: Implementation) -> None:
        """Send what a plugin answers, as those filters leave it that are for such answers too."""
        if (whose := response.stands_in) is not None:
            options = ServingOptions(engine=whose.engine)
            self._builder.saw_target(
                Target(reference=whose.model_reference, server="other", options=options), whose.model_key
            )
        headers = {name.lower(): value for name, value in response.headers.items()}
        content_type = headers.pop("content-type", "application/json")
        said = headers.pop("content-length", None)
        if isinstance(response.body, AsyncIterator):
            length = None if said is None else int(said)
            pieces = pieces_of(response.body, answerer, length)
        else:
            body = response.encoded()
            length, pieces = len(body), _once(body)
        async with _closed(response.body), aclosing(pieces):
            self.stream = for_plugins_answers(self.stream)
            if self.stream:
                length, pieces = None, self.chunks(pieces, answerer.plugin.name)
                if not content_type.startswith(STREAM_TYPES):  # its length is told, and nothing before it is whole
                    body = b"".join([piece async for piece in pieces])
                    length, pieces = len(body), _once(body)
            await self._builder.start(response.status, content_type, length, headers)
            await self._send_pieces(pieces, length)

    async def _send_pieces(self, pieces: AsyncGenerator[bytes], length: int | None) -> None:
        """Send pieces as they come. The one that fills `length` is the last: a caller who hangs up then has it all."""
        sent = 0
        async with aclosing(pieces):
            async for piece in pieces:
                sent += len(piece)
                await self._builder.send(piece, more=sent != length)
        if not self._builder.is_complete:
            await self._builder.send(b"", more=False)


@asynccontextmanager
async def _closed(body: object) -> AsyncGenerator[None]:
    """Close the body of an answer even where nobody has begun to read it."""
    try:
        yield
    finally:
        if isinstance(body, Closes):
            await body.aclose()


async def _once(body: bytes) -> AsyncGenerator[bytes]:
    yield body
