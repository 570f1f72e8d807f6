"""What hooks are given and give back, beside `Exchange` and `Project`: frozen values, exported by `dmrc`."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Protocol, Self

from dmrc.errors import DmrcError
from dmrc.exchange import JsonValue

Annotations = Mapping[str, JsonValue]
"""Notes that a plugin leaves on the exchange."""


class Annotate(Protocol):
    """Leaves notes on the exchange of an answer that is on its way."""

    def __call__(self, **notes: JsonValue) -> None:
        """Add notes, in place of those of the same name; None takes one away.

        Raises:
            TypeError: One is not JSON; so may ValueError.
        """


class _Annotated:
    """A value that carries notes for the exchange."""

    __slots__ = ()

    def annotated(self, **notes: JsonValue) -> Self:
        """Return the same with notes for the exchange added: `request.annotated(team="search")`."""
        annotations = {**getattr(self, "annotations", {}), **notes}
        return replace(self, annotations=annotations)  # type: ignore[type-var]


@dataclass(frozen=True, slots=True, kw_only=True)
class Request(_Annotated):
    """A request on its way to an engine."""

    path: str
    """HTTP path as the caller asked for it; a change has no effect."""
    body: dict[str, JsonValue]
    """The JSON body. Each plugin gets a copy of its own, which it may change in place and return."""
    headers: Mapping[str, str]
    """Headers that the engine gets: lower-case names, no credentials."""
    annotations: Annotations = field(default_factory=dict)
    """Notes for the exchange; `annotated` adds some."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StandIn:
    """In whose place a plugin answers, for the record."""

    engine: str
    """What the record calls the kind of server that answered: `cache`."""
    model_reference: str
    """The model whose words they are."""
    model_key: str | None = None
    """Its key in the project's `models:`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Response(_Annotated):
    """An answer given in place of an engine's."""

    body: bytes | JsonValue | AsyncIterator[bytes]
    """Bytes go as they are, the bytes of an async iterator piece by piece as they come; anything else goes as JSON.
    Where `exchange.stream` is true the caller reads server-sent events: give bytes or pieces, with the header
    `content-type: text/event-stream`. An iterator has no time limit; what it raises breaks the answer off, and it is
    closed (`aclose`, as an async generator has it) when the caller hangs up."""
    status: int = 200
    """HTTP status."""
    headers: Mapping[str, str] = field(default_factory=dict)
    """More headers; `content-type` is `application/json` unless it is here. Where `content-length` is, the answer ends
    with the piece that fills it."""
    annotations: Annotations = field(default_factory=dict)
    """Notes for the exchange; `annotated` adds some."""
    stands_in: StandIn | None = None
    """Whose words these are, where they are a model's; None: nobody's but the plugin's."""

    def encoded(self) -> bytes:
        """Return the body as bytes."""
        return self.body if isinstance(self.body, bytes) else json.dumps(self.body).encode()


class AnswerCut(DmrcError):
    """Raised by a plugin to break an answer off: in `dmrc_response_stream`, or by the pieces of a `Response`.

    What was sent stays sent. A stream ends with an error event of the caller's dialect, and never as if it were whole;
    where nothing was sent yet the caller gets an error, 502.
    """

    http_status = 502
    quotes_request = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Refusal(_Annotated):
    """A refusal, which the caller gets as an error in its own dialect."""

    message: str
    """One line: what was refused, and why."""
    status: int = 403
    """HTTP status, 400 to 599."""
    error_type: str = "permission_error"
    """`error.type` of the answer; `rate_limit_error` is what clients expect with 429."""
    code: str | None = None
    """`error.code` of the answer in OpenAI's APIs, as `model_not_found`; None: the `error_type`."""
    retry_after_seconds: int | None = None
    """`Retry-After` of the answer; clients wait that long before they try again."""
    annotations: Annotations = field(default_factory=dict)
    """Notes for the exchange; `annotated` adds some."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Runner:
    """A running engine child: one model with one configuration."""

    id: str
    """12 hex digits that name model and configuration, as in `dmrc ps --json`; the same after a restart."""
    started_at: float
    """Unix seconds."""
    load_seconds: float
    """Time from the start of the process until it answered, making room included."""
    model_reference: str
    """Full reference."""
    model_digest: str
    """Digest of the model's manifest; empty for one of an upstream."""
    engine: str
    """Kind of engine."""
    mode: str
    """`completion`, `embedding` or `rerank`."""
    context_tokens: int
    """What one request may use; 0 where an upstream decides that."""
    parallel: int
    """Requests served at the same time."""
    memory_bytes: int
    """What the scheduler reckons it takes."""
