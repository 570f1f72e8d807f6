"""An engine's answer on its way to the caller: its bytes as they come, or read once, put right and said otherwise."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import aclosing

from dmrc.answer import Answer
from dmrc.dialects.chat.answers import json_object
from dmrc.dialects.chat.events import ChatEvents, read_events
from dmrc.dialects.chat.fixes import Fix, is_stream, put_right
from dmrc.dialects.chat.several import joined_document
from dmrc.dialects.dialect import Call
from dmrc.errors import EngineError
from dmrc.fields import JsonObject
from dmrc.gateway.inference.exchange_builder import ExchangeBuilder
from dmrc.gateway.inference.filters import Filters
from dmrc.gateway.server.json_reading import at_length

WHOLE_BYTES = 8 << 20
"""An answer that is no stream is read up to here before its status is sent."""

LARGEST_TRANSLATED_BYTES = 64 << 20
"""An answer that is no stream, and that a reply says, must be whole: this is what it may have."""


async def forward(answer: Answer, call: Call, builder: ExchangeBuilder, filters: Filters) -> None:
    """Send the engine's answer to `call` to the caller.

    Raises:
        EngineError: It is no answer to what was asked.
    """
    reply, chunks = call.reply, aiter(answer)
    content_type = answer.headers.get("content-type", "application/json")
    if is_stream(answer) and not (call.several and call.several.is_joined):
        content_type = reply.stream_type if reply else "text/event-stream; charset=utf-8"
        chunks = reply.stream(_events(chunks, call), builder.timing) if reply else chunks
    else:
        if reply is None:
            beginning, is_whole = await _beginning(chunks, WHOLE_BYTES)
        else:
            content_type = "application/json; charset=utf-8" if is_stream(answer) else content_type
            beginning, is_whole = reply.whole(await _document(chunks, call, is_stream(answer)), builder.timing), True
        if is_whole:
            body = await filters.whole(beginning)
            await builder.start(answer.status, content_type, len(body))
            await builder.send(body, more=False)
            return
        chunks = _continued(beginning, chunks)
    await builder.start(answer.status, content_type, None)
    if filters.stream:
        async with aclosing(filters.chunks(chunks)) as filtered:
            async for chunk in filtered:
                await builder.send(chunk, more=True)
    else:
        async for chunk in chunks:
            await builder.send(chunk, more=True)
    await builder.send(b"", more=False)


def _events(chunks: AsyncIterator[bytes], call: Call) -> ChatEvents:
    """Return the events of a stream, put right."""
    fixes = (call.several.counted(), *call.fixes) if call.several else call.fixes
    return put_right(read_events(chunks), fixes) if fixes else read_events(chunks)


async def _document(chunks: AsyncIterator[bytes], call: Call, is_streamed: bool) -> JsonObject:
    """Return an answer that is one document for its caller, put right; {} where it is no JSON object.

    Raises:
        EngineError: It is too large.
    """
    if call.several and is_streamed:
        document = await joined_document(put_right(read_events(chunks), (call.several.counted(),)))
        return _put_right(document, call.fixes)
    body, is_whole = await _beginning(chunks, LARGEST_TRANSLATED_BYTES)
    if not is_whole:
        raise EngineError(f"the engine's answer is larger than {LARGEST_TRANSLATED_BYTES >> 20} MiB")
    return await at_length(body, lambda: _put_right(json_object(body), call.fixes))


def _put_right(document: JsonObject, fixes: Sequence[Fix]) -> JsonObject:
    for fix in fixes:
        document = fix.whole(document)
    return document


async def _beginning(chunks: AsyncIterator[bytes], longest: int) -> tuple[bytes, bool]:
    """Return the body and True; of a very long one its beginning and False.

    An answer that is no stream is read before its status is sent, so that a runner that dies in the middle still
    becomes an honest status; but a caller that reads slowly must not fill the daemon's memory.
    """
    read: list[bytes] = []
    size = 0
    async for chunk in chunks:
        read.append(chunk)
        size += len(chunk)
        if size > longest:
            return b"".join(read), False
    return b"".join(read), True


async def _continued(beginning: bytes, chunks: AsyncIterator[bytes]) -> AsyncGenerator[bytes]:
    yield beginning
    async for chunk in chunks:
        yield chunk
