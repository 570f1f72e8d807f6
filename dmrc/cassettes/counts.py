"""The counts of tokens at the end of a chat completion's stream: only who asks for them by `stream_options` gets them.

They come in a chunk without a choice, which a client that has not asked for it need not understand.
Source: https://platform.openai.com/docs/api-reference/chat/create#chat-create-stream_options
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace

from dmrc.capture.conversation import answer_document
from dmrc.cassettes.interaction import Interaction, RecordedAnswer, RecordedPiece
from dmrc.event_stream import events
from dmrc.fields import JsonObject
from dmrc.json_values import object_of, parse_object

_DONE = b"data: [DONE]"


def counts_of(document: JsonObject) -> JsonObject:
    """Return `usage` by the timings that llama.cpp's stream tells without it; {} where there are none."""
    timings = object_of(document.get("timings"))
    numbers = [timings.get(name, 0) for name in ("prompt_n", "cache_n", "predicted_n")]
    prompt, cached, made = (number if isinstance(number, int) else 0 for number in numbers)
    total = prompt + cached + made
    return {"prompt_tokens": prompt + cached, "completion_tokens": made, "total_tokens": total} if timings else {}


def without_counts(answer: RecordedAnswer) -> RecordedAnswer:
    """Return a stream without the chunk of its counts; a piece that had nothing else leaves its time to the next."""
    pieces, late_ms = [], 0.0
    for piece in answer.pieces:
        kept = b"".join(_without_counts(piece.data)) if b'"usage"' in piece.data else piece.data
        late_ms += piece.after_ms
        if kept:
            pieces.append(RecordedPiece(late_ms, kept))
            late_ms = 0.0
    return replace(answer, pieces=tuple(pieces))


def with_counts(answer: RecordedAnswer, interaction: Interaction) -> RecordedAnswer:
    """Return a stream with the chunk of its counts before its end, where the recorded one tells them at all."""
    document = answer_document(interaction.as_exchange())
    usage = object_of(document.get("usage")) or counts_of(document)
    if not usage or not any(_DONE in piece.data for piece in answer.pieces):
        return answer
    first = next((parse_object(event.data) for event in events(answer.body) if event.data.startswith(b"{")), {})
    common = {name: first[name] for name in ("id", "object", "created", "model") if name in first}
    chunk = b"data: " + json.dumps({**common, "choices": [], "usage": usage}).encode() + b"\n\n"
    pieces = [replace(piece, data=piece.data.replace(_DONE, chunk + _DONE)) for piece in answer.pieces]
    return replace(answer, pieces=tuple(pieces))


def _without_counts(data: bytes) -> Iterator[bytes]:
    """Yield the events of a piece but that of the counts; a piece may begin and end inside of an event."""
    for event in _whole_events(data):
        if not (b'"usage"' in event and _has_no_choice(event)):
            yield event


def _whole_events(data: bytes) -> list[bytes]:
    parts = data.split(b"\n\n")
    return [part + b"\n\n" for part in parts[:-1]] + parts[-1:]


def _has_no_choice(event: bytes) -> bool:
    try:
        document = json.loads(event.removeprefix(b"data:"))
    except ValueError:
        return False
    return isinstance(document, dict) and document.get("choices") == []
