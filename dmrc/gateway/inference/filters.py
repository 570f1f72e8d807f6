"""One request on its way through the filters of plugins. Where none is loaded, this costs two looks into a table."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Sequence

from dmrc.errors import RefusedError
from dmrc.gateway.inference.exchange_builder import ExchangeBuilder
from dmrc.hooks.event_types import Refusal, Request, Response
from dmrc.hooks.filters import filter_request, filter_stream
from dmrc.hooks.plugin import Implementation
from dmrc.hooks.plugins import Plugins
from dmrc.projects import Caller

_EVERYBODY: frozenset[str] = frozenset()


class Filters:
    """The filters that one request passes: everybody's, and those of its project."""

    def __init__(self, plugins: Plugins, caller: Caller | None, builder: ExchangeBuilder) -> None:
        """Look them up."""
        projects = frozenset((caller.registration.name,)) if caller else _EVERYBODY
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
        match filtered.answer:
            case Refusal(message=message, status=status, error_type=error_type):
                seconds = filtered.answer.retry_after_seconds
                raise RefusedError(message, status=status, error_type=error_type, retry_after_seconds=seconds)
            case Response():
                await self._send(filtered.answer)
                return True
        return False

    async def chunks(self, stream: AsyncIterator[bytes]) -> AsyncGenerator[bytes]:
        """Yield an answer as the filters leave it; to be asked where `stream` of this object is not empty."""
        changed_by: list[str] = []
        filtered = filter_stream(self.stream, self._builder.so_far(), stream, changed_by)
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

    async def _send(self, response: Response) -> None:
        body = response.encoded()
        headers = {name.lower(): value for name, value in response.headers.items()}
        content_type = headers.pop("content-type", "application/json")
        await self._builder.start(response.status, content_type, len(body), headers)
        await self._builder.send(body, more=False)


async def _once(body: bytes) -> AsyncGenerator[bytes]:
    yield body
