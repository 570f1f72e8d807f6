"""An engine's answer on its way to the caller: its bytes as they come, or read once, put right and said otherwise."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import aclosing
from functools import partial

from dmrc.answer import Answer
from dmrc.dialects.chat.answers import json_object
from dmrc.dialects.chat.fixes import Fix, is_stream
from dmrc.dialects.chat.several import JoinedAnswers
from dmrc.dialects.dialect import Call
from dmrc.dialects.translation import Translation
from dmrc.errors import EngineError
from dmrc.fields import JsonObject
from dmrc.gateway.inference.carried import carried
from dmrc.gateway.inference.exchange_builder import ExchangeBuilder
from dmrc.gateway.inference.filters import Filters
from dmrc.gateway.server.json_reading import at_length
from dmrc.gateway.streams.processes import StreamProcesses
from dmrc.streaming import Give, Sink, Transform, beginning, chunks_of, give_through, pour

WHOLE_BYTES = 8 << 20
"""An answer that is no stream is read up to here before its status is sent, so that a runner that dies in the middle
still becomes an honest status; but a caller that reads slowly must not fill the daemon's memory."""

LARGEST_TRANSLATED_BYTES = 64 << 20
"""An answer that is no stream, and that a reply says, must be whole: this is what it may have."""


async def forward(
    answer: Answer, call: Call, builder: ExchangeBuilder, filters: Filters, streams: StreamProcesses
) -> None:
    """Send the engine's answer to `call` to the caller; by one of `streams`, where it is one that can be carried there.

    Raises:
        EngineError: It is no answer to what was asked.
    """
    reply, give = call.reply, answer.into
    transforms: tuple[Transform, ...] = ()
    content_type = answer.headers.get("content-type", "application/json")
    if is_stream(answer) and not (call.several and call.several.is_joined):
        content_type = reply.stream_type if reply else "text/event-stream; charset=utf-8"
        if reply is not None:
            transforms = (Translation(reply, _fixes(call), builder.clock),)
            give = partial(give_through, transforms[0], give)
    else:
        if reply is None:
            body, is_whole = await beginning(give, WHOLE_BYTES)
        else:
            content_type = "application/json; charset=utf-8" if is_stream(answer) else content_type
            body, is_whole = reply.whole(await _document(answer, call), builder.clock), True
        if is_whole:
            body = await filters.whole(body)
            await builder.start(answer.status, content_type, len(body))
            await builder.send(body, more=False)
            return
        give = partial(_continued, body, give)
    await builder.start(answer.status, content_type, None)
    is_carried = is_stream(answer) and not filters.stream and await carried(streams, answer, transforms, builder)
    if not is_carried:
        await _give(give, builder, filters)
    await builder.send(b"", more=False)


async def _give(give: Give, builder: ExchangeBuilder, filters: Filters) -> None:
    """Give a body to the caller as it comes: at once, or through the filters of plugins."""
    if not filters.stream:
        await give(builder.body)
        return
    async with aclosing(chunks_of(give)) as chunks, aclosing(filters.chunks(chunks)) as filtered:
        await pour(filtered, builder.body)


def _fixes(call: Call) -> Sequence[Fix]:
    return (call.several.counted(), *call.fixes) if call.several else call.fixes


async def _document(answer: Answer, call: Call) -> JsonObject:
    """Return an answer that is one document for its caller, put right; {} where it is no JSON object.

    Raises:
        EngineError: It is too large.
    """
    if call.several and is_stream(answer):
        joined = JoinedAnswers(call.several.counted())
        await answer.into(joined)
        return _put_right(joined.document(), call.fixes)
    body, is_whole = await beginning(answer.into, LARGEST_TRANSLATED_BYTES)
    if not is_whole:
        raise EngineError(f"the engine's answer is larger than {LARGEST_TRANSLATED_BYTES >> 20} MiB")
    return await at_length(body, lambda: _put_right(json_object(body), call.fixes))


def _put_right(document: JsonObject, fixes: Sequence[Fix]) -> JsonObject:
    for fix in fixes:
        document = fix.whole(document)
    return document


async def _continued(body: bytes, give: Give, sink: Sink) -> None:
    sink.take(body)
    await give(sink)
