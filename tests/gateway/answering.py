"""What a dialect makes of an engine's answer, without an engine: the streams that servers write, cut anywhere."""

from __future__ import annotations

import json
from collections.abc import Sequence

from dmrc.dialects.dialect import Reply, Timing
from dmrc.dialects.translation import Translation
from dmrc.event_stream import events
from dmrc.fields import JsonObject

Document = dict[str, object]
USAGE = {"prompt_tokens": 35, "completion_tokens": 6, "prompt_tokens_details": {"cached_tokens": 5}}


def chat_stream(deltas: Sequence[Document], reason: str = "stop", line_end: str = "\n", **last: object) -> bytes:
    """A stream of chat completions as OpenAI's own: the reason has its event, and the counts have theirs."""
    told = [{"model": "m", "choices": [{"index": 0, "delta": delta, "finish_reason": None}]} for delta in deltas]
    told.append({"model": "m", "choices": [{"index": 0, "delta": {}, "finish_reason": reason, **last}]})
    told.append({"model": "m", "choices": [], "usage": USAGE})
    lines = [f"data: {json.dumps(each)}" for each in told] + ["data: [DONE]"]
    return "".join(f"{line}{line_end * 2}" for line in lines).encode()


def bytes_of(reply: Reply, stream: bytes, size: int | None = None) -> bytes:
    """What the caller gets for a stream that comes in pieces of `size` bytes; None is one piece."""
    translation = Translation(reply, (), lambda: Timing(9.0, 4.0))
    pieces = (stream[start : start + (size or len(stream))] for start in range(0, len(stream), size or len(stream)))
    return b"".join([*map(translation.feed, pieces), translation.end()])


def told(reply: Reply, stream: bytes, size: int | None = None) -> list[Document]:
    """The events that the caller gets."""
    return [json.loads(event.data) for event in events(bytes_of(reply, stream, size))]


def whole(reply: Reply, message: Document, reason: str = "stop") -> Document:
    """The answer that the caller gets where it is no stream."""
    choice = {"index": 0, "message": {"role": "assistant", **message}, "finish_reason": reason}
    answer: JsonObject = {"model": "m", "choices": [choice], "usage": USAGE}
    document: Document = json.loads(reply.whole(answer, lambda: Timing(0.0, 0.0)))
    return document
