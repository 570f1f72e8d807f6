"""A recorded answer in the other form: one that was recorded whole as a stream, and the reverse, in its dialect."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import replace

from dmrc.capture.conversation import answer_document
from dmrc.cassettes.counts import counts_of, with_counts, without_counts
from dmrc.cassettes.errors import CassetteError
from dmrc.cassettes.interaction import Asked, Interaction, RecordedAnswer, RecordedPiece, route_of
from dmrc.cassettes.names import RecordedNames
from dmrc.dialects.dialect import Call, Clock, Reply, Route
from dmrc.dialects.responses.routes import ResponsesRoute
from dmrc.dialects.table import dialect_of
from dmrc.dialects.translation import said_by
from dmrc.errors import DmrcError
from dmrc.exchange import Operation
from dmrc.fields import JsonObject, JsonValue
from dmrc.json_values import items_of, object_of

# A token of English is about four letters.
_PIECE_LETTERS = 4


Form = tuple[bool, bool]
"""Whether an answer is a stream, and whether one with its counts."""


def form_of(asked: Asked, *, stream: bool | None = None) -> Form:
    """Return in which form an answer is wanted; `stream` None: as the body says."""
    if stream is None:
        stream = asked.body.get("stream", route_for(asked).streams_unasked) is True
    return stream, stream and _wants_counts(asked)


def _wants_counts(asked: Asked) -> bool:
    return bool(object_of(asked.body.get("stream_options")).get("include_usage"))


def in_form(interaction: Interaction, asked: Asked, *, stream: bool) -> RecordedAnswer:
    """Return an answer as a stream or whole; itself where it was recorded so, or is an error.

    `asked` is the request that it answers now.

    Raises:
        CassetteError: It cannot be given in that form.
    """
    answer = interaction.answer
    if answer.is_stream and stream and _wants_counts(asked) != _wants_counts(interaction.asked):
        return with_counts(answer, interaction) if _wants_counts(asked) else without_counts(answer)
    if answer.is_stream == stream or answer.status >= 400 or asked.operation in ("embedding", "rerank", "count_tokens"):
        return answer
    recorded = RecordedNames.of(answer.body)
    if not stream and recorded.response is not None:
        return _with_parts(answer, "application/json", [json.dumps(recorded.response).encode()])
    document = _document(interaction, recorded)
    try:
        reply = _reply(asked, recorded.model or asked.model, stream=stream)
        clock = recorded.clock
        parts = _streamed(document, asked, reply, clock) if stream else [_whole(document, reply, clock)]
    except DmrcError as error:
        form = "as a stream" if stream else "whole"
        raise CassetteError(f"the recorded answer cannot be given {form}: {error.message}") from error
    kind = "application/json"
    if stream:
        kind = reply.stream_type if reply else "text/event-stream; charset=utf-8"
    return _with_parts(answer, kind, parts if reply is None else recorded.put_into(parts))


def _with_parts(answer: RecordedAnswer, content_type: str, parts: Sequence[bytes]) -> RecordedAnswer:
    """Return the answer with another body; what the whole took is spread over its parts."""
    milliseconds = sum(piece.after_ms for piece in answer.pieces)
    pieces = tuple(RecordedPiece(milliseconds / len(parts), part) for part in parts)
    return replace(answer, content_type=content_type, pieces=pieces)


def _document(interaction: Interaction, recorded: RecordedNames) -> JsonObject:
    """Return an answer as the chat completion that says the same."""
    if _has_probabilities(interaction.asked):
        raise CassetteError(
            "the recorded answer has probabilities, which are given only as they were recorded",
            remedy="Record it in this form, too",
        )
    document = answer_document(interaction.as_exchange())
    choices = items_of(document.get("choices"))
    if not choices:
        raise CassetteError("the recorded answer has no words that could be given in another form")
    if recorded.stop_sequence is not None:
        choices[0]["stop_reason"] = recorded.stop_sequence
    return document


def _has_probabilities(asked: Asked) -> bool:
    return any(asked.body.get(name) not in (None, False, 0) for name in ("logprobs", "top_logprobs"))


def _reply(asked: Asked, model: str, *, stream: bool) -> Reply | None:
    """Return what says an answer in the caller's words, who calls the model so; None: they are the engine's own."""
    document = {name: value for name, value in asked.body.items() if name != "previous_response_id"}
    document |= {"stream": stream, "model": model}
    # One of its own, for the others remember what was answered.
    route = ResponsesRoute() if asked.operation == "response" else route_for(asked)
    call = route.call(document, json.dumps(document).encode(), None)
    if not isinstance(call, Call):
        raise CassetteError("it asks for no words")
    return call.reply


def route_for(asked: Asked) -> Route:
    """Return the route that a request is for; raises as `route_at` does."""
    return route_at(asked.dialect, asked.operation, asked.path)


def route_at(dialect: str, operation: Operation, path: str) -> Route:
    """Return the route at a path, which is as `route_of` has it.

    Raises:
        CassetteError: There is none such.
    """
    for known, route in dialect_of(dialect, operation).routes().items():
        if route_of(known.replace("{v1}", "/v1").replace("{root}", "")) == path:
            return route
    raise CassetteError(f"there is no route {path}")


def _whole(document: JsonObject, reply: Reply | None, clock: Clock) -> bytes:
    if "usage" not in document and (counted := counts_of(document)):
        document = {**document, "usage": counted}
    return json.dumps(document).encode() if reply is None else reply.whole(document, clock)


def _streamed(document: JsonObject, asked: Asked, reply: Reply | None, clock: Clock) -> list[bytes]:
    chunks = list(_chunks(document))
    if reply is not None:
        return said_by(reply, chunks, clock)
    if not _wants_counts(asked):
        chunks = [_without_usage(chunk) for chunk in chunks if chunk.get("choices")]
    return [*(b"data: " + json.dumps(chunk).encode() + b"\n\n" for chunk in chunks), b"data: [DONE]\n\n"]


def _chunks(document: JsonObject) -> Iterator[JsonObject]:
    """Yield a whole answer as the chunks of a stream; its counts come last."""
    is_chat = any("message" in choice for choice in items_of(document.get("choices")))
    common: JsonObject = {name: document[name] for name in ("id", "created", "model") if name in document}
    common["object"] = "chat.completion.chunk" if is_chat else "text_completion"
    for choice in items_of(document.get("choices")):
        index, reason = choice.get("index", 0), choice.get("finish_reason")
        for part in _parts(choice) if is_chat else ({"text": text} for text in _cut(choice.get("text"))):
            yield {**common, "choices": [{"index": index, **part, "finish_reason": None}]}
        last: JsonObject = {"delta": {}} if is_chat else {"text": ""}
        if "stop_reason" in choice:
            last["stop_reason"] = choice["stop_reason"]
        yield {**common, "choices": [{"index": index, **last, "finish_reason": reason}]}
    counts: JsonObject = {name: document[name] for name in ("usage", "timings") if name in document}
    yield {**common, "choices": [], **counts}


def _parts(choice: JsonObject) -> Iterator[JsonObject]:
    """Yield what a message says, as the deltas of its choice."""
    message = object_of(choice.get("message"))
    yield {"delta": {"role": "assistant", "content": None}}
    for name in ("reasoning_content", "reasoning", "content", "refusal"):
        for text in _cut(message.get(name)):
            yield {"delta": {name: text}}
    for index, call in enumerate(items_of(message.get("tool_calls"))):
        function = object_of(call.get("function"))
        begun: JsonObject = {"name": function.get("name"), "arguments": ""}
        yield {"delta": {"tool_calls": [{**call, "index": index, "function": begun}]}}
        for text in _cut(function.get("arguments")):
            yield {"delta": {"tool_calls": [{"index": index, "function": {"arguments": text}}]}}


def _cut(text: JsonValue) -> list[str]:
    if not isinstance(text, str):
        return []
    return [text[start : start + _PIECE_LETTERS] for start in range(0, len(text), _PIECE_LETTERS)]


def _without_usage(chunk: JsonObject) -> JsonObject:
    return {name: value for name, value in chunk.items() if name not in ("usage", "timings")}
