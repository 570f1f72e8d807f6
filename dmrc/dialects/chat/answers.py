"""What a server answers to a chat completion, taken apart for the dialects that say it in other words.

Source: https://platform.openai.com/docs/api-reference/chat/streaming
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Literal

from dmrc.dialects.chat.events import ChatEvents, documents
from dmrc.errors import EngineAnswerError, EngineError
from dmrc.exchange import JsonValue
from dmrc.fields import JsonObject
from dmrc.json_values import items_of, object_of

# How llama.cpp's own routes (/infill) say why an answer ended.
# Source: https://github.com/ggml-org/llama.cpp/blob/master/tools/server/README.md#result-json
_STOPS = {"eos": "stop", "word": "stop", "limit": "length"}
# OpenAI's, llama.cpp's and vLLM's names.
_THOUGHTS = ("reasoning_content", "reasoning")
_WORDS = ("content", "refusal")

PieceKind = Literal["text", "thought", "call"]
"""What the model can say."""

Part = tuple[PieceKind, int]
"""What pieces make up together: the words, the thoughts, or one call by its position in `ChatAnswer.calls`."""


@dataclass(frozen=True, slots=True)
class Piece:
    """Something that the model said, all of one kind."""

    kind: PieceKind
    """What it is part of."""
    text: str
    """Its words; of a call its arguments, as JSON that is perhaps not complete."""
    call: int = 0
    """Position of the call in `ChatAnswer.calls`."""
    logprobs: JsonValue = None
    """Of its tokens, where they were asked for."""

    @property
    def part(self) -> Part:
        """Return what it is part of, of several calls the one."""
        return self.kind, self.call


@dataclass(slots=True)
class PartialToolCall:
    """A call of a tool, as far as it is told."""

    id: str
    """Names it in the message that brings its result."""
    name: str
    """Function."""
    arguments: str = ""
    """JSON, as the model wrote it."""

    def parsed(self) -> JsonObject:
        """Return the arguments; none where they are no JSON object."""
        return json_object(self.arguments.encode())


class ChatAnswer:
    """The answer to one chat completion: its first choice. An answer to a plain completion is read as well."""

    def __init__(self) -> None:
        """Nothing has come yet."""
        self.model: str | None = None
        """What the server calls the model."""
        self.reason: str | None = None
        """OpenAI's `finish_reason`; None until the answer is at its end."""
        self.stop_word: str | None = None
        """Which of the stop sequences ended it, where the server tells."""
        self.calls: list[PartialToolCall] = []
        """In the order that they were begun."""
        self.timings: JsonObject = {}
        """What llama.cpp measured."""
        self.progress: JsonObject = {}
        """What llama.cpp tells of the prompt before its first word, where asked: `{"total": 32, "cache": 25}`."""
        self._usage: JsonObject = {}
        self._numbers: dict[str, int] = {}

    def whole(self, document: JsonObject) -> list[Piece]:
        """Return all pieces of an answer that is no stream; `document` is {} where it is no JSON object.

        Raises:
            EngineError: It is no answer to a completion.
        """
        pieces = self._read(document)
        if self.reason is None and not pieces:
            raise EngineError("the engine's answer is not a completion", remedy="See: dmrc requests")
        return pieces

    def stream(self, events: ChatEvents) -> list[Piece]:
        """Return the pieces that came together, perhaps none.

        What this object tells beside the pieces is then of the last of the events: an event that comes before the
        first piece may hold none of it but `model`.

        Raises:
            EngineError: The stream said so.
        """
        pieces: list[Piece] = []
        for document in documents(events):
            if document.get("error"):
                raise EngineAnswerError(error_message(document))
            pieces += self._read(document)
        return pieces

    def check_end(self) -> None:
        """Check that a stream may end here.

        Raises:
            EngineError: It ended before the answer did.
        """
        if self.reason is None:
            raise EngineError("the engine's answer ended before its end", remedy="See: dmrc logs")

    @property
    def prompt_tokens(self) -> int:
        """Return the tokens of the question, those from the cache among them; 0 where the server does not tell."""
        # llama.cpp's prompt_n leaves out what came from the cache.
        timed = self._timed("prompt_n") + self._timed("cache_n")
        return _count(self._usage.get("prompt_tokens")) or timed

    @property
    def cached_tokens(self) -> int:
        """Return the tokens of the question that were in the cache."""
        told = object_of(self._usage.get("prompt_tokens_details")).get("cached_tokens")
        return _count(told) or self._timed("cache_n")

    @property
    def completion_tokens(self) -> int:
        return _count(self._usage.get("completion_tokens")) or self._timed("predicted_n")

    @property
    def reasoning_tokens(self) -> int:
        """Return the tokens of the thoughts; 0 where the server does not tell."""
        return _count(object_of(self._usage.get("completion_tokens_details")).get("reasoning_tokens"))

    def _timed(self, name: str) -> int:
        return _count(self.timings.get(name))

    def _read(self, document: JsonObject) -> list[Piece]:
        self._note(document)
        if isinstance(model := document.get("model"), str):
            self.model = model
        if document.get("stop") is True:
            self.reason = _STOPS.get(str(document.get("stop_type")), "stop")
        choice = _first_choice(document.get("choices"))
        if reason := choice.get("finish_reason"):
            self.reason = str(reason)
            # vLLM's name, which is a number where a token ended it.
            self.stop_word = _text(choice.get("stop_reason")) or self.stop_word
        is_whole = choice.get("delta") is None  # an empty one says nothing, whatever stands beside it
        said = object_of(choice.get("message" if is_whole else "delta"))
        words = _first(said, _WORDS) or choice.get("text") or document.get("content")
        logprobs = object_of(choice.get("logprobs")).get("content")
        pieces = [Piece("thought", thought)] if (thought := _first(said, _THOUGHTS)) else []
        if isinstance(words, str) and words:
            pieces.append(Piece("text", words, logprobs=logprobs))
        for index, call in enumerate(items_of(said.get("tool_calls"))):
            pieces.append(self._called({**call, "index": index} if is_whole else call))
        return pieces

    def _note(self, document: JsonObject) -> None:
        """Take in what is told beside the words; most events have none of it."""
        if timings := document.get("timings"):
            self.timings = object_of(timings) or self.timings
        if usage := document.get("usage"):
            self._usage = object_of(usage) or self._usage
        if progress := document.get("prompt_progress"):
            self.progress = object_of(progress) or self.progress
        if verbose := document.get("__verbose"):  # llama.cpp's, where it was asked for
            self.stop_word = _text(object_of(verbose).get("stopping_word")) or self.stop_word

    def _called(self, part: JsonObject) -> Piece:
        """Take a part of a call. The first one names it; some servers give each call the same index, but its own id."""
        function, call_id, index = object_of(part.get("function")), part.get("id"), part.get("index")
        number = self._numbers.get(str(index))
        if number is None or (call_id and call_id != self.calls[number].id):
            number = self._numbers[str(index)] = len(self.calls)
            self.calls.append(
                PartialToolCall(str(call_id or f"call_{uuid.uuid4().hex}"), str(function.get("name") or ""))
            )
        if number != len(self.calls) - 1:
            raise EngineError("the engine went on with a call after it had begun the next one")
        given = function.get("arguments")
        # OpenAI has a text; some servers send the object itself.
        text = given if isinstance(given, str) else json.dumps(given) if given else ""
        self.calls[number].arguments += text
        return Piece("call", text, number)


def joined(pieces: Iterable[Piece]) -> dict[Part, str]:
    """Return the whole of each part, in the order that they were begun."""
    words: dict[Part, str] = {}
    for piece in pieces:
        words[piece.part] = words.get(piece.part, "") + piece.text
    return words


def asking_for_counts(request: JsonObject) -> JsonObject:
    """Return what a request must have so that a stream tells its tokens, too: only llama.cpp does without."""
    return {"stream_options": {"include_usage": True}} if request.get("stream") else {}


def error_message(document: JsonObject) -> str:
    """Return what an error says, whosever form it has."""
    error = document.get("error")
    return str(object_of(error).get("message") or error or "the engine refused the request")


def json_object(data: bytes) -> JsonObject:
    """Return the object that JSON holds; an empty one where it holds anything else."""
    try:
        return object_of(json.loads(data))
    except (ValueError, RecursionError):
        return {}


def _first_choice(choices: JsonValue) -> JsonObject:
    for one in choices if isinstance(choices, list) else ():
        if isinstance(one, dict) and not one.get("index"):
            return one
    return {}


def _first(said: JsonObject, names: tuple[str, ...]) -> str:
    for name in names:
        if isinstance(value := said.get(name), str) and value:
            return value
    return ""


def _text(value: JsonValue) -> str | None:
    return value if isinstance(value, str) and value else None


def _count(value: JsonValue) -> int:
    return int(value) if isinstance(value, int | float) else 0


def add_call(message: dict[str, JsonValue], part: Mapping[str, JsonValue]) -> None:
    """Add a piece of a tool call, as a chunk of a stream has it, to the `tool_calls` of a message."""
    calls = message.setdefault("tool_calls", [])
    index = part.get("index")
    position = index if isinstance(index, int) and index >= 0 else 0
    if not isinstance(calls, list) or position > len(calls):
        return  # calls come in order; anything else is no stream of theirs
    if position == len(calls):
        calls.append({"id": None, "type": "function", "function": {"name": "", "arguments": ""}})
    call = object_of(calls[position])
    whole, function = object_of(call["function"]), object_of(part.get("function"))
    call["id"] = part.get("id") or call["id"]
    for name in ("name", "arguments"):
        if isinstance(piece := function.get(name), str):
            whole[name] = f"{whole[name]}{piece}"
