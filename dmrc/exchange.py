"""The exchange: one request with its response, as every part of dmrc that records, shows or replays it sees it."""

from __future__ import annotations

import os
import time
from collections import deque
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, fields, make_dataclass
from functools import cache
from operator import attrgetter
from typing import Any, Literal

from dmrc.errors import CancelledError
from dmrc.fields import JsonValue as JsonValue

Operation = Literal["chat", "completion", "embedding", "response", "rerank", "count_tokens"]
"""What the caller asks for; `count_tokens` generates nothing."""


KEY_SCOPE = "key:"
"""Begins what a key of `dmrc key create` has in place of a project; no Compose project can have such a name."""

DIFF_SCOPE = "diff:"
"""Begins what the requests of `dmrc diff` have in place of a project: `diff:shop`."""

DIFF_HEADER = "x-dmrc-diff"
"""In which such a request says the id of the exchange whose request it is."""

DIFF_NOTE = "diff"
"""Annotation of such a request: the id of the exchange whose request it is."""

REPLAYED = "replayed"
"""Annotation of what a cassette answered, and not a model: `api.jsonl:14`, its file and line."""

FAULT = "fault"
"""Annotation of a request that failed on purpose: which kind of fault it met; a header says it as well."""

FAULT_PLANNED = "fault_planned"
"""Annotation of a request whose answer is to meet a fault, until that is made, or skipped; it stays where the request
failed before by itself."""

FAULT_SKIPPED = "fault_skipped"
"""Annotation of a request that was to meet a fault and gave no occasion for it: which one, and why."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Exchange:
    """One request and its response. A change is a new object, by `dataclasses.replace`."""

    id: str
    """UUIDv7 as text: sorts by time."""
    trace_id: str | None = None
    """32 hex digits of the caller's `traceparent`."""
    span_id: str | None = None
    """16 hex digits of the caller's `traceparent`."""
    session_id: str | None = None
    """What the caller named as its conversation."""
    conversation_id: str | None = None
    """Id of the first exchange of the conversation that it belongs to, maybe its own; None until it is written, and
    where neither its content nor its caller says which one that is."""

    project: str | None = None
    """Compose project of the caller's key; `key:NAME` for one of `dmrc key create`, whose service is NAME."""
    service: str | None = None
    """Compose service of the caller's key."""
    container: str | None = None
    """Container of the caller, where Docker knows it."""
    key_id: str | None = None
    """First 12 hex digits of the SHA-256 of the key."""
    client_address: str | None = None
    """IP address of the caller."""
    user_agent: str | None = None
    """`User-Agent` of the caller."""

    method: str
    """HTTP method."""
    path: str
    """HTTP path without a query, and without a capability token."""
    dialect: str = "openai"
    """Whose API, by its name in `dmrc.dialects.table`."""
    operation: Operation
    """What was asked for."""
    model_requested: str | None = None
    """`model` as the caller wrote it."""
    model_key: str | None = None
    """Key of the model in the project's `models:`."""
    model_reference: str | None = None
    """Full reference of the model that answered."""
    model_digest: str | None = None
    """Digest of the manifest of the model that answered."""
    engine: str | None = None
    """Kind of server that answered."""
    replica: str | None = None
    """Which of several servers of the model answered; None where there is one only."""
    node: str | None = None
    """The machine that this replica runs on, where its engine knows it."""
    stream: bool = False
    """Whether a stream was asked for."""

    received_at: float
    """Unix seconds."""
    queue_ms: float | None = None
    """Time spent waiting for a slot of the runner, after the model was loaded."""
    load_ms: float | None = None
    """Time spent waiting for the model to load, from `received_at` on; near 0 when it was loaded."""
    first_token_ms: float | None = None
    """Time to the first token, from `received_at`; without a stream, by the engine's own prompt time."""
    total_ms: float | None = None
    """Time to the last byte, from `received_at`."""

    status: int | None = None
    """HTTP status sent to the caller."""
    finish_reason: str | None = None
    """`stop`, `length`, `tool_calls`, …"""
    error_type: str | None = None
    """`error.type` of the answer, or of a stream that broke."""
    error_message: str | None = None
    """One line."""
    client_disconnected: bool = False
    """Whether the caller went away before the answer was complete."""

    prompt_tokens: int | None = None
    """Tokens of the prompt, cached ones included."""
    cached_tokens: int | None = None
    """Tokens of the prompt that the engine had already."""
    completion_tokens: int | None = None
    """Tokens generated."""
    context_tokens: int | None = None
    """What one request may use at most on that runner."""
    prompt_tokens_per_second: float | None = None
    """Prefill rate, by the engine."""
    completion_tokens_per_second: float | None = None
    """Decode rate, by the engine; where it does not say, by the times of the stream."""

    request_headers: Mapping[str, str] = field(default_factory=dict)
    """Lower-case names; credentials are masked."""
    request_body: bytes = b""
    """As received, or its beginning."""
    response_headers: Mapping[str, str] = field(default_factory=dict)
    """Lower-case names."""
    response_body: bytes = b""
    """As sent (a stream keeps its SSE bytes), or its beginning."""
    chunk_offsets: tuple[tuple[float, int], ...] = ()
    """For each chunk read from the engine: milliseconds from `received_at`, and its offset in the response body."""
    request_truncated: bool = False
    """Whether `request_body` is only a beginning."""
    response_truncated: bool = False
    """Whether `response_body` is only a beginning."""

    request_media: Mapping[str, JsonValue] = field(default_factory=dict)
    """What is known of the pictures that were taken out of `request_body`, by the SHA-256 that stands in their place.

    Shape: `{"9f86d0…": {"width": 64, "height": 48}}`, each with `base64` where `DMRC_CAPTURE_MEDIA` keeps them.
    """

    annotations: Mapping[str, JsonValue] = field(default_factory=dict)
    """Notes of plugins."""

    @property
    def was_cancelled(self) -> bool:
        """Return whether its caller hung up before its end, or the user of this machine has cancelled it."""
        return self.client_disconnected or self.error_type == CancelledError.error_type

    def annotated(self, **notes: JsonValue) -> Exchange:
        """Return the exchange with notes added: `exchange.annotated(topic="whales")`."""
        return changed(self, {"annotations": {**self.annotations, **notes}})


_FIELDS = tuple(one.name for one in fields(Exchange))
_values = attrgetter(*_FIELDS)


@cache
def _draft_class() -> type[Any]:
    """Return a class with the slots of an exchange that is not frozen: of a frozen one each field is set by a call."""
    return make_dataclass("_Draft", _FIELDS, slots=True, repr=False, eq=False)


def changed(exchange: Exchange, news: Mapping[str, Any]) -> Exchange:
    """Return the exchange with other values of the fields named: `dataclasses.replace` at an eighth of its cost."""
    draft = _draft_class()(*_values(exchange))
    for name, value in news.items():
        setattr(draft, name, value)
    return _frozen(draft)


def exchange_of(values: Iterable[Any]) -> Exchange:
    """Return the exchange with the values of all of its fields, in their order."""
    return _frozen(_draft_class()(*values))


def _frozen(draft: Any) -> Exchange:
    """Make an exchange of a draft, which it is no more."""
    draft.__class__ = Exchange
    exchange: Exchange = draft
    return exchange


# The random parts of the next ids. To ask the system gives the interpreter's lock away, and whoever makes an id waits
# until the other threads give it back.
_random_parts: deque[bytes] = deque()
os.register_at_fork(after_in_child=_random_parts.clear)
_DRAWN_AT_ONCE = 400


def _random_part() -> bytes:
    """Return ten random bytes; safe in threads."""
    try:
        return _random_parts.popleft()
    except IndexError:
        drawn = os.urandom(10 * _DRAWN_AT_ONCE)
        _random_parts.extend(drawn[at : at + 10] for at in range(10, len(drawn), 10))
        return drawn[:10]


def id_at(unix_seconds: float) -> str:
    """Return what sorts before the ids of all exchanges that came in at this time or later."""
    digits = f"{max(0, int(unix_seconds * 1000)):012x}"
    return f"{digits[:8]}-{digits[8:12]}"


def new_exchange_id() -> str:
    """Return a new UUIDv7. Source: RFC 9562, section 5.7."""
    milliseconds = time.time_ns() // 1_000_000
    random = _random_part()
    text = (milliseconds.to_bytes(6) + random).hex()
    # The version takes the first digit of the random part, the variant the first two bits of the fifth.
    return f"{text[:8]}-{text[8:12]}-7{text[13:16]}-{'89ab'[random[2] >> 6]}{text[17:20]}-{text[20:]}"
