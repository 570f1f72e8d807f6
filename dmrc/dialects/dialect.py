"""A dialect: how one HTTP API says what every engine understands, OpenAI's chat completions, and what it answers."""

from __future__ import annotations

import json
import re
from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from dataclasses import dataclass, field
from typing import Protocol

from starlette.responses import Response

from dmrc.dialects.chat.mends import Mend
from dmrc.dialects.chat.several import Several
from dmrc.dialects.errors import error_event, error_response
from dmrc.errors import DmrcError
from dmrc.exchange import Dialect as DialectName
from dmrc.exchange import JsonValue, Operation


@dataclass(frozen=True, slots=True)
class Timing:
    """What only the gateway knows of the time that a request took."""

    total_ms: float
    """Since it was received."""
    load_ms: float
    """Of that, what it waited for the model to load."""


class Clock(Protocol):
    """Tells the times of one request."""

    def __call__(self) -> Timing:
        """Return them, as of now."""


class Reply(Protocol):
    """The answer to one request, in words that the caller understands; it remembers what came before."""

    stream_type: str
    """`Content-Type` of a stream."""

    def whole(self, body: bytes, clock: Clock) -> bytes:
        """Return an answer that is no stream. An engine's error never comes here: see `engine_errors.engine_error`.

        Raises:
            EngineError: It is no answer to what was asked.
        """

    def stream(self, chunks: AsyncIterator[bytes], clock: Clock) -> AsyncGenerator[bytes]:
        """Yield a stream in the caller's form; `chunks` are the engine's, cut anywhere.

        Raises:
            EngineError: The engine's stream ended before its end was said.
        """


@dataclass(frozen=True, slots=True)
class Call:
    """What a request asks of an engine."""

    path: str
    """Path of the engine's server."""
    document: dict[str, JsonValue]
    """The body, as JSON; it is checked before it is sent (`checks.checked`), whoever wrote it."""
    reply: Reply | None = None
    """Translates the answer; None: its bytes pass as they are."""
    raw: bytes | None = None
    """`document` as the caller wrote it, or as it was written in a thread; None: it is to be written."""
    of_llama_cpp: Mapping[str, JsonValue] = field(default_factory=dict)
    """More of the body, for llama.cpp's server alone: others refuse what they do not know."""
    several: Several | None = None
    """How many answers it wants, where that is more than one and its engine counts only one."""
    mends: tuple[Mend, ...] = ()
    """What is put right in the answer before `reply` reads it."""
    truncates: bool = False
    """Whether texts that are too long to be embedded are cut, and not refused."""
    left_out: tuple[str, ...] = ()
    """Fields of the request that have no effect here, as `options.num_ctx`; the caller and the record are told."""

    def body(self) -> bytes:
        """Return the bytes to send: the caller's own where nothing has changed them."""
        return json.dumps(self.document).encode() if self.raw is None else self.raw


@dataclass(frozen=True, slots=True)
class Residence:
    """A request that asks for no words: the model is loaded, or unloaded where its `keep_alive` is 0."""

    loaded: bytes
    """The answer, as JSON, when it is loaded."""
    unloaded: bytes
    """The answer when it is unloaded."""


class Dialect(Protocol):
    """One inference route of one API."""

    name: DialectName
    """Whose API."""
    operation: Operation
    """What the route is for."""
    streams_unasked: bool
    """Whether a request that says nothing of `stream` gets one."""
    last_event: re.Pattern[bytes]
    """What stands at the very end of a stream that is complete."""

    def call(self, document: dict[str, JsonValue], body: bytes, project: str | None) -> Call | Residence:
        """Return what to do for a request: `document` is its body as JSON, `body` the bytes, `project` the caller's.

        Raises:
            InputError: It cannot be meant.
        """

    def error_response(self, error: DmrcError) -> Response:
        """Return the answer for an error of which nothing was sent yet."""

    def last_words(self, error: DmrcError) -> bytes:
        """Return what ends a stream that breaks."""


class OpenAI:
    """The dialect of every engine: what the check leaves as it is passes byte by byte."""

    name: DialectName = "openai"
    streams_unasked = False
    last_event = re.compile(rb"data: ?\[DONE\]\s*\Z")

    def __init__(self, route: str, operation: Operation) -> None:
        """Serve `route`, below `/v1/`."""
        self.operation: Operation = operation
        self._path = f"/v1/{route}"

    def call(self, document: dict[str, JsonValue], body: bytes, project: str | None) -> Call:
        """Return the request as it came."""
        del project
        return Call(self._path, document, raw=body)

    def error_response(self, error: DmrcError) -> Response:
        """Return the error as OpenAI's clients read it."""
        return error_response(error)

    def last_words(self, error: DmrcError) -> bytes:
        """Return an error event; `[DONE]` never follows it."""
        return error_event(error)
