"""What a dialect is: how one HTTP API says what every engine understands, chat completions, and is answered."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Protocol

from dmrc.dialects.chat.events import ChatEvents
from dmrc.dialects.chat.fixes import Fix
from dmrc.dialects.chat.several import Several
from dmrc.dialects.chat.tool_arguments import ArgumentPlace
from dmrc.errors import DmrcError
from dmrc.exchange import JsonValue, Operation
from dmrc.fields import JsonObject

SLOT_PATHS = ("/v1/chat/completions", "/v1/completions")
"""Paths of requests that get a slot of llama.cpp's server; others, as a count of tokens, need none."""


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


@dataclass(frozen=True, slots=True)
class RequestClock:
    """The clock of a request, which goes in each process of this machine; see `Clock`."""

    began_at: float
    """When it was received, by `time.perf_counter`."""
    load_ms: float
    """What it waited for the model to load."""

    def __call__(self) -> Timing:
        """Return the times, as of now."""
        return Timing((time.perf_counter() - self.began_at) * 1000, self.load_ms)


class Reply(Protocol):
    """The answer to one request, in words that the caller understands; it remembers what came before."""

    stream_type: str
    """`Content-Type` of a stream."""

    def whole(self, document: JsonObject, clock: Clock) -> bytes:
        """Return an answer that is no stream; `document` is {} where the engine's is no JSON object.

        An engine's error never comes here: see `engine_errors.engine_error`.

        Raises:
            EngineError: It is no answer to what was asked.
        """

    def stream(self, events: ChatEvents, clock: Clock) -> bytes:
        """Return a part of a stream in the caller's form; `events` are the engine's that came together.

        Raises:
            EngineError: They say that it failed.
        """

    def stream_end(self, clock: Clock) -> bytes:
        """Return what ends the stream; perhaps nothing.

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
    """Says the answer, which is read once; None: its bytes pass as they are."""
    raw: bytes | None = None
    """`document` as the caller wrote it, or as it was written in a thread; None: it is to be written."""
    of_llama_cpp: Mapping[str, JsonValue] = field(default_factory=dict)
    """More of the body, for llama.cpp's server alone: others refuse what they do not know."""
    several: Several | None = None
    """How many answers it wants, where that is more than one and its engine counts only one."""
    fixes: tuple[Fix, ...] = ()
    """What is put right in the answer before `reply` reads it."""
    truncates: bool = False
    """Whether texts that are too long to be embedded are cut, and not refused."""
    left_out: tuple[str, ...] = ()
    """Fields of the request that have no effect here, as `options.num_ctx`; the caller and the record are told."""

    def in_slot(self, number: int | None) -> Call:
        """Return the call as llama.cpp's server gets it for one of its slots; None leaves the choice to it."""
        if number is None:
            return self
        raw = self.raw
        if raw is not None:  # a long text is not written again
            raw = b'{"id_slot": %d, %b' % (number, raw[raw.index(b"{") + 1 :])
        return replace(self, document={**self.document, "id_slot": number}, raw=raw)

    def body(self) -> bytes:
        """Return the bytes to send: the caller's own where nothing has changed them."""
        return json.dumps(self.document).encode() if self.raw is None else self.raw


@dataclass(frozen=True, slots=True)
class LoadOrUnload:
    """A request that asks for no words: the model is loaded, or unloaded where its `keep_alive` is 0."""

    loaded: bytes
    """The answer, as JSON, when it is loaded."""
    unloaded: bytes
    """The answer when it is unloaded."""


class Route(Protocol):
    """One inference route of a dialect."""

    operation: Operation
    """What it is for."""
    streams_unasked: bool
    """Whether a request that says nothing of `stream` gets one."""
    last_event: re.Pattern[bytes]
    """What stands at the very end of a stream that is complete."""

    @property
    def dialect(self) -> Dialect:
        """Return whose words it speaks."""

    def call(self, document: dict[str, JsonValue], body: bytes, project: str | None) -> Call | LoadOrUnload:
        """Return what to do for a request: `document` is its body as JSON, `body` the bytes, `project` the caller's.

        Raises:
            InputError: It cannot be meant.
        """


AnswerReader = Callable[[dict[str, JsonValue]], dict[str, JsonValue]]
"""Reads one answer for the record, event by event: returns each as a chunk of a stream of chat completions; {} where it
says nothing. An answer that is no stream is one event. It must not change what it is given.

Shape: `{"choices": [{"index": 0, "delta": {"content": "Hel"}, "finish_reason": null}]}`; with `usage` and `timings` as
llama.cpp's server has them, or with `error`, where an event tells these.
"""


class Dialect(Protocol):
    """One HTTP API: all that the gateway and the record have to know of it."""

    name: str
    """What the record calls it."""
    id_headers: tuple[str, ...]
    """Headers in which its clients look for what to tell when they ask for help."""

    def routes(self) -> Mapping[str, Route]:
        """Return its routes by path.

        A path may begin with `{v1}`, which stands for each place of OpenAI's routes (`/v1`, `/engines/v1`,
        `/engines/NAME/v1`), or with `{root}`, the same without its `/v1`.
        """

    def owns(self, path: str) -> bool:
        """Return whether a path is this API's, though no route takes it: whose words the error has."""

    def error(self, error: DmrcError) -> dict[str, object]:
        """Return an error as its clients read it, before anything was sent."""

    def last_words(self, error: DmrcError) -> bytes:
        """Return what ends a stream that breaks."""

    def messages(self, request: Mapping[str, JsonValue]) -> list[dict[str, JsonValue]]:
        """Return what a request says, for the record: messages as OpenAI's chat has them, the system prompt first.

        Words that stand under no role have the name of their field as one, such as `prompt` or `input`. The request
        may be any JSON object, and must not be changed.
        """

    def reader(self, operation: Operation) -> AnswerReader | None:
        """Return what reads one answer for the record; None: it is one of OpenAI's chat completions already."""

    def tool_arguments(self, answer: JsonObject) -> Iterator[ArgumentPlace]:
        """Yield where the arguments of tool calls stand in an answer, or in one event of a stream.

        A stream may say them again in later events; each place that has them is one.
        """
