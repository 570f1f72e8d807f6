"""One interaction: what a service asked and what it was answered."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from dmrc.cassettes.errors import NotRecordedError
from dmrc.event_stream import STREAM_TYPES
from dmrc.exchange import Exchange, Operation
from dmrc.fields import JsonObject
from dmrc.json_values import parse_json

KEPT_HEADERS = ("retry-after",)
"""Headers of an answer that say something to a program, and belong to it."""

_PLACES = re.compile(r"^/(?:anthropic(?=/v1/)|engines(?:/[^/]+)?(?=/(?:v1|rerank|responses)(?:/|$)))")


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """What a service asked, without its secrets."""

    dialect: str
    """Whose API, by its name in `dmrc.dialects.table`."""
    operation: Operation
    """What for."""
    path: str
    """The route, wherever it was mounted: `/v1/chat/completions` for `/engines/llama.cpp/v1/chat/completions`."""
    model: str
    """Key in the project's `models:`; where the caller has no project, the model as it was named."""
    body: JsonObject
    """The request."""

    @classmethod
    def of(cls, exchange: Exchange) -> Asked:
        """Return what an exchange asks; it is masked already.

        Raises:
            NotRecordedError: Its body is cut, or no JSON object, or was not kept.
        """
        if exchange.request_truncated:
            raise NotRecordedError("the request is too long to be kept whole")
        if not exchange.request_body:
            raise NotRecordedError("its content is not on record")
        body = parse_json(exchange.request_body)
        if not isinstance(body, dict):
            raise NotRecordedError("the request is no JSON object")
        model = exchange.model_key or exchange.model_requested or exchange.model_reference or ""
        return cls(
            dialect=exchange.dialect,
            operation=exchange.operation,
            path=route_of(exchange.path),
            model=model,
            body=body,
        )

    @property
    def is_streamed(self) -> bool | None:
        """Return whether a stream is asked for; None where the request leaves it to its route."""
        stream = self.body.get("stream")
        return stream if isinstance(stream, bool) else None


@dataclass(frozen=True, slots=True)
class RecordedPiece:
    """A part of an answer that came at once."""

    after_ms: float
    """Time since the piece before; of the first, since the request came, without waiting for a load or a slot."""
    data: bytes
    """Its bytes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordedAnswer:
    """What a service was answered, without its secrets."""

    model: str | None
    """Reference of the model that answered; None where none did."""
    status: int
    """HTTP status."""
    content_type: str
    """HTTP content type."""
    pieces: tuple[RecordedPiece, ...]
    """The body, as it came."""
    headers: Mapping[str, str] = field(default_factory=dict)
    """Those of `KEPT_HEADERS`, in lower case."""

    @property
    def is_stream(self) -> bool:
        """Return whether it came in pieces."""
        return self.content_type.startswith(STREAM_TYPES)

    @property
    def body(self) -> bytes:
        """Return all pieces together."""
        return b"".join(piece.data for piece in self.pieces)


@dataclass(frozen=True, slots=True)
class Interaction:
    """What was asked and what was answered."""

    asked: Asked
    answer: RecordedAnswer

    @classmethod
    def of(cls, exchange: Exchange) -> Interaction:
        """Return the interaction of an exchange that has ended; it is masked already.

        Raises:
            NotRecordedError: It cannot be answered again as it was.
        """
        if (why := _why_not(exchange)) is not None:
            raise NotRecordedError(why)
        headers = {name: exchange.response_headers[name] for name in KEPT_HEADERS if name in exchange.response_headers}
        answer = RecordedAnswer(
            model=exchange.model_reference,
            status=exchange.status or 0,
            content_type=exchange.response_headers.get("content-type", "application/json"),
            pieces=_pieces(exchange),
            headers=headers,
        )
        return cls(Asked.of(exchange), answer)

    def as_exchange(self) -> Exchange:
        """Return it as readers of the record take it: bodies, headers, and what was asked for."""
        asked, answer = self.asked, self.answer
        return Exchange(
            id="",
            method="POST",
            path=asked.path,
            dialect=asked.dialect,
            operation=asked.operation,
            model_requested=asked.model,
            model_reference=answer.model,
            received_at=0.0,
            status=answer.status,
            stream=answer.is_stream,
            request_body=json.dumps(asked.body).encode(),
            response_headers={"content-type": answer.content_type},
            response_body=answer.body,
        )


def route_of(path: str) -> str:
    """Return the route of a path, wherever it is mounted."""
    return _PLACES.sub("", path)


def _why_not(exchange: Exchange) -> str | None:
    """Return why an exchange cannot be answered again; None where it can."""
    notes = exchange.annotations
    if "replayed" in notes:
        return "it was answered from a cassette"
    if "fault" in notes:
        return "a fault was made on purpose"
    if "not_recorded" in notes:
        return "it was refused, since no cassette had it"
    if "diff" in notes:
        return "dmrc diff asked it"
    if exchange.client_disconnected:
        return "the caller hung up before the end"
    if exchange.was_cancelled:
        return "it was cancelled before the end"
    if exchange.status is None or exchange.status >= 500 or exchange.status == 429:
        return f"it was answered with status {exchange.status}" if exchange.status else "it was not answered"
    if exchange.response_truncated:
        return "the answer is too long to be kept whole"
    if exchange.error_type is not None and exchange.status < 400:
        return "its answer broke off"
    return None if exchange.response_body else "its content is not on record"


def _pieces(exchange: Exchange) -> tuple[RecordedPiece, ...]:
    offsets, body = exchange.chunk_offsets, exchange.response_body
    if not offsets or offsets[0][1] != 0:
        offsets = ((exchange.total_ms or 0.0, 0), *(pair for pair in offsets if pair[1] > 0))
    ends = [offset for _, offset in offsets[1:]] + [len(body)]
    before = (exchange.load_ms or 0.0) + (exchange.queue_ms or 0.0)
    pieces = []
    for (at, start), end in zip(offsets, ends, strict=True):
        if end > start:  # a secret that lay across pieces may have left one of them empty
            pieces.append(RecordedPiece(round(max(0.0, at - before), 1), body[start:end]))
            before = at
    return tuple(pieces)
