"""What a finished exchange tells about itself: tokens, rates, times, how it ended. Pure; runs off the request path."""

from __future__ import annotations

import json
import math
import re
from bisect import bisect_right
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from operator import itemgetter
from typing import Any

from dmrc.capture.bodies import AnswerChunk, ParsedBodies, is_streamed
from dmrc.exchange import Exchange, JsonValue, changed
from dmrc.json_values import find_object, find_string, items_of, object_of

ESTIMATED = "estimated"
"""Annotation that names a field of which the value was counted by the pieces of a stream."""

_GENERATED = frozenset({"content", "reasoning_content", "reasoning", "refusal", "tool_calls", "function_call"})
_THOUGHTS = ("reasoning_content", "reasoning", "thinking")
_ASKING = ("prompt", "input")
_UNSEARCHED = ("query", "documents")
_LONGEST_MESSAGE = 500
_KIND = re.compile(r"[A-Za-z0-9][\w.-]{0,63}")
# SQLite and JavaScript both hold integers up to here.
_LARGEST_COUNT = 2**53


@dataclass(slots=True)
class _Findings:
    """What the response body says, in llama.cpp's and OpenAI's own words."""

    timings: dict[str, JsonValue] = field(default_factory=dict)
    usage: dict[str, JsonValue] = field(default_factory=dict)
    error: JsonValue = None
    finish_reason: str | None = None
    first_token_end: int | None = None
    pieces: int = 0


def complete(exchange: Exchange) -> Exchange:
    """Return the exchange with what its raw response says; see `facts_of`."""
    news = facts_of(exchange, ParsedBodies())
    return changed(exchange, news) if news else exchange


def facts_of(exchange: Exchange, bodies: ParsedBodies) -> dict[str, Any]:
    """Return the fields that the raw response tells, by name; those that were set already are left out.

    Never raises: a body that is cut, no JSON or hostile only leaves fields None.
    """
    stream, streamed = bodies.events(exchange), is_streamed(exchange)
    found = _read_whole(exchange.response_body, bodies) if stream is None else _read_stream(stream)
    facts = _facts(found, _first_token_ms(exchange, found, streamed))
    if facts["completion_tokens"] is None and found.pieces and streamed:
        # It was broken off before its counts came; a piece is a token, but for rare letters that need several.
        facts["completion_tokens"] = found.pieces
        facts["annotations"] = {**exchange.annotations, ESTIMATED: "completion_tokens"}
    if facts["completion_tokens_per_second"] is None and stream is not None:
        facts["completion_tokens_per_second"] = _observed_rate(exchange, facts)
    return {
        name: value
        for name, value in facts.items()
        if value is not None and (name == "annotations" or getattr(exchange, name) is None)
    }


def _read_whole(body: bytes, bodies: ParsedBodies) -> _Findings:
    answer = bodies.whole(body)
    if not answer:
        # Cut or very long: the numbers can still be told.
        return _Findings(
            timings=find_object(body, "timings"),
            usage=find_object(body, "usage"),
            error=find_object(body, "error") or None,
            finish_reason=find_string(body, "finish_reason"),
        )
    found = _Findings()
    _take(found, answer)
    return found


def _read_stream(stream: Sequence[AnswerChunk]) -> _Findings:
    found = _Findings()
    for answer, end, events in stream:
        if _take(found, answer):
            found.pieces += events
            if found.first_token_end is None:
                found.first_token_end = end
    return found


def _take(found: _Findings, answer: dict[str, JsonValue]) -> bool:
    """Add what an answer says, or a chunk of it; return whether there is a token in the chunk."""
    if "timings" in answer or "usage" in answer or "error" in answer:
        found.timings = object_of(answer.get("timings")) or found.timings
        found.usage = object_of(answer.get("usage")) or found.usage
        found.error = answer.get("error") or found.error
    has_token = False
    for choice in items_of(answer.get("choices")):
        reason = choice.get("finish_reason")
        if isinstance(reason, str) and found.finish_reason is None:
            found.finish_reason = _kind(reason)
        delta = choice.get("delta")
        generated = isinstance(delta, dict) and any(delta[name] for name in delta if name in _GENERATED)
        has_token = has_token or generated or bool(choice.get("text"))
    return has_token


def _facts(found: _Findings, first_token_ms: float | None) -> dict[str, Any]:
    """Return fields of `Exchange` by their names; None where the body does not say."""
    timings, usage = found.timings, found.usage
    evaluated, cached = _count(timings.get("prompt_n")), _count(timings.get("cache_n"))
    prompt = _count(usage.get("prompt_tokens"))
    if evaluated is not None and (cached is not None or prompt is None):
        # llama.cpp's prompt_n leaves out what came from the cache; and it is of one answer, where there are several.
        prompt = max(evaluated + (cached or 0), prompt or 0)
    if cached is None:
        cached = _count(object_of(usage.get("prompt_tokens_details")).get("cached_tokens"))
    generated, told = _count(timings.get("predicted_n")), _count(usage.get("completion_tokens"))
    kind, message = _error(found.error)
    return {
        "prompt_tokens": prompt,
        "cached_tokens": cached,
        "completion_tokens": max(filter(None, (generated, told)), default=generated if told is None else told),
        "prompt_tokens_per_second": _positive(timings.get("prompt_per_second")),
        "completion_tokens_per_second": _positive(timings.get("predicted_per_second")),
        "finish_reason": found.finish_reason,
        "error_type": kind,
        "error_message": message,
        "first_token_ms": first_token_ms,
    }


def _first_token_ms(exchange: Exchange, found: _Findings, streamed: bool) -> float | None:
    if streamed:
        if found.first_token_end is None or not exchange.chunk_offsets:
            return None
        chunk = bisect_right(exchange.chunk_offsets, found.first_token_end - 1, key=itemgetter(1)) - 1
        return exchange.chunk_offsets[max(chunk, 0)][0]
    prompt_ms = _positive(found.timings.get("prompt_ms"))
    if prompt_ms is None:
        return None
    # An approximation: the engine does not say when the token was there, only how long the prompt took.
    about = (exchange.queue_ms or 0.0) + (exchange.load_ms or 0.0) + prompt_ms
    return about if exchange.total_ms is None else min(about, exchange.total_ms)


def _observed_rate(exchange: Exchange, facts: Mapping[str, Any]) -> float | None:
    """Return the decode rate by the times of a stream; None where it came in few pieces, which tell of no token."""
    tokens, first_ms = facts["completion_tokens"], facts["first_token_ms"]
    if tokens is None or first_ms is None or 2 * len(exchange.chunk_offsets) < tokens:
        return None
    seconds = (exchange.chunk_offsets[-1][0] - first_ms) / 1000
    return float((tokens - 1) / seconds) if tokens > 1 and seconds > 0 else None


def _error(error: JsonValue) -> tuple[str | None, str | None]:
    if isinstance(error, str):
        return "server_error", _one_line(error)
    if not isinstance(error, dict) or not error:
        return None, None
    kind = next((error[name] for name in ("type", "code") if isinstance(error.get(name), str | int)), "server_error")
    message = error.get("message")
    return _kind(str(kind)), _one_line(message) if isinstance(message, str) else None


def _kind(text: str) -> str:
    """Return the kind of an error, or how an answer ended; "other" for what is no name, and may be anybody's words."""
    return text if _KIND.fullmatch(text) else "other"


def _one_line(text: str) -> str:
    # JSON may hold half a surrogate pair, which no UTF-8 file can.
    whole = text[: 2 * _LONGEST_MESSAGE].encode("utf-8", "replace").decode()
    return " ".join(whole.split())[:_LONGEST_MESSAGE]


def _count(value: JsonValue) -> int | None:
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value < _LARGEST_COUNT:
        return None
    return value


def _positive(value: JsonValue) -> float | None:
    # llama.cpp says 0.0 tokens per second for a single token: that is no rate.
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < _LARGEST_COUNT:
        return None
    return float(value) if math.isfinite(value) else None


def text_of_request(exchange: Exchange) -> str:
    """Return the plain words that were asked: the first user message, the prompt, or the input; else the last words."""
    return texts_of_request(exchange)[0]


def texts_of_request(exchange: Exchange, bodies: ParsedBodies | None = None) -> tuple[str, str]:
    """Return what `text_of_request` does, and the words of all other messages, system prompts included, a line each."""
    bodies = bodies or ParsedBodies()
    if not bodies.whole(exchange.request_body):
        return _cut_request(exchange.request_body), ""
    return texts_of_messages(bodies.messages(exchange))


def texts_of_messages(messages: Iterable[Mapping[str, JsonValue]]) -> tuple[str, str]:
    """Return what `texts_of_request` does, of the messages of a request (`Dialect.messages`)."""
    asked, alone, others = "", "", []
    for message in messages:
        role = message.get("role")
        if role in _UNSEARCHED:
            continue
        text = " ".join(filter(None, (_words(message.get("content")), *_beside_content(message))))
        if text and not asked and role == "user":
            asked = text
        elif role in _ASKING:
            alone = alone or text
        elif text:
            others.append(text)
    asked = asked or alone
    if not asked and others:
        # As after a tool's result, where the words before it are kept by an id only.
        asked = others.pop()
    return asked, "\n".join(others)


def text_of_response(exchange: Exchange, bodies: ParsedBodies | None = None) -> str:
    """Return the plain words of the answer: reasoning, text and the arguments of tool calls; "" when none."""
    bodies = bodies or ParsedBodies()
    body, stream = exchange.response_body, bodies.events(exchange)
    if stream is not None:
        chunks = (choice for answer, _, _ in stream for choice in items_of(answer.get("choices")))
        return "".join([words for choice in chunks for words in _choice_words(choice)]).strip()
    answer = bodies.whole(body)
    if not answer and body[:1] == b"{":
        return (find_string(body, "content") or find_string(body, "text") or "").strip()
    return "\n".join("".join(_choice_words(choice)) for choice in items_of(answer.get("choices"))).strip()


def _choice_words(choice: Mapping[str, JsonValue]) -> list[str]:
    said = object_of(choice.get("message" if choice.get("delta") is None else "delta"))
    words = [value for name in _THOUGHTS if isinstance(value := said.get(name), str)]
    words += [value for value in (said.get("content"), choice.get("text")) if isinstance(value, str)]
    return [*words, *_call_words(said)] if "tool_calls" in said else words


def _beside_content(message: Mapping[str, JsonValue]) -> Iterator[str]:
    """Yield the words of a message that are not its content: thoughts, and calls of tools."""
    for name in _THOUGHTS:
        if isinstance(value := message.get(name), str):
            yield value
    yield from _call_words(message)


def _call_words(message: Mapping[str, JsonValue]) -> Iterator[str]:
    for call in items_of(message.get("tool_calls")):
        function = object_of(call.get("function"))
        name, arguments = function.get("name"), function.get("arguments")
        if isinstance(name, str) and name:
            yield f" {name} "
        if isinstance(arguments, str | dict):
            yield arguments if isinstance(arguments, str) else json.dumps(arguments, ensure_ascii=False)


def _words(content: JsonValue) -> str:
    """Return the text of `content`: a string, a list of strings, or a list of parts `{"type": "text", "text": …}`."""
    if isinstance(content, str):
        return content
    if not isinstance(content, list):
        return ""
    texts = [part if isinstance(part, str) else object_of(part).get("text") for part in content]
    return "\n".join(text for text in texts if isinstance(text, str))


def _cut_request(body: bytes) -> str:
    user = re.search(rb'"role"\s{0,8}:\s{0,8}"user"', body)
    text = find_string(body, "content", user.end()) if user else None
    return text or find_string(body, "content") or find_string(body, "prompt") or find_string(body, "input") or ""
