"""An exchange as a conversation: the messages that were sent, and the answer, put together where it was a stream."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass

from dmrc.capture.bodies import ParsedBodies
from dmrc.dialects.chat.answers import add_call
from dmrc.exchange import Exchange, JsonValue
from dmrc.json_values import items_of, object_of

_THOUGHTS = ("reasoning_content", "reasoning", "thinking")
_JOINED = ("content", "reasoning_content", "reasoning", "refusal")


@dataclass(frozen=True, slots=True)
class ToolCall:
    """A function that the model wants called."""

    id: str
    """Names it in the message that brings its result."""
    name: str
    """Function."""
    arguments: str
    """JSON, as the model wrote it."""


@dataclass(frozen=True, slots=True)
class Message:
    """One message of a conversation."""

    role: str
    """`system`, `user`, `assistant`, `tool`, …; `prompt` or `input` where there are no roles."""
    text: str
    """Its words; a picture or a sound is named in brackets."""
    reasoning: str = ""
    """What the model thought before."""
    calls: tuple[ToolCall, ...] = ()
    """Tools that it calls."""
    call_id: str | None = None
    """Of a tool's result: the call that it answers; where only the tool is named, that."""


def asked(exchange: Exchange, bodies: ParsedBodies | None = None) -> list[Message]:
    """Return the messages of the request; none where it is no JSON or was cut. `bodies`, here and below, reads it."""
    return [message_of(message) for message in (bodies or ParsedBodies()).messages(exchange)]


def answered(exchange: Exchange, bodies: ParsedBodies | None = None) -> list[Message]:
    """Return the answer, one message for each choice; none where there is no answer in words."""
    answer = answer_document(exchange, bodies)
    found = []
    for choice in items_of(answer.get("choices")):
        message = object_of(choice.get("message"))
        found.append(message_of({"role": "assistant", **message}) if message else _completion(choice))
    return found


def answer_document(exchange: Exchange, bodies: ParsedBodies | None = None) -> dict[str, JsonValue]:
    """Return the answer as the JSON that it would be without a stream; empty where it is no JSON."""
    bodies = bodies or ParsedBodies()
    stream = bodies.events(exchange)
    if stream is None:
        return bodies.whole(exchange.response_body)
    document: dict[str, JsonValue] = {}
    choices: dict[int, dict[str, JsonValue]] = {}
    for chunk, _, _ in stream:
        for choice in items_of(chunk.get("choices")):
            index = choice.get("index")
            _add_choice(choices.setdefault(index if isinstance(index, int) else 0, {}), choice)
        document |= {name: value for name, value in chunk.items() if value is not None}
    if choices:
        document["choices"] = [{"index": index, **choices[index]} for index in sorted(choices)]
    if document.get("object") == "chat.completion.chunk":
        document["object"] = "chat.completion"
    return document


def _add_choice(whole: dict[str, JsonValue], part: Mapping[str, JsonValue]) -> None:
    if isinstance(text := part.get("text"), str):
        whole["text"] = f"{whole.get('text') or ''}{text}"
    if part.get("finish_reason") is not None:
        whole["finish_reason"] = part["finish_reason"]
    delta = object_of(part.get("delta"))
    if not delta:
        return
    message = whole.setdefault("message", {"role": "assistant", "content": None})
    if not isinstance(message, dict):
        return
    for name in _JOINED:
        if isinstance(piece := delta.get(name), str):
            message[name] = f"{message.get(name) or ''}{piece}"
    for call in items_of(delta.get("tool_calls")):
        add_call(message, call)


def _completion(choice: Mapping[str, JsonValue]) -> Message:
    return Message("assistant", _text(choice.get("text")))


def message_of(message: Mapping[str, JsonValue]) -> Message:
    """Return a message that is in the words of chat completions."""
    calls = tuple(
        ToolCall(_text(call.get("id")), _text(function.get("name")), _arguments(function.get("arguments")))
        for call in items_of(message.get("tool_calls"))
        for function in (object_of(call.get("function")),)
    )
    # Ollama's results name the tool alone.
    call_id = message.get("tool_call_id") or message.get("tool_name")
    return Message(
        role=_text(message.get("role")) or "user",
        text=_text(message.get("content")) or _text(message.get("refusal")),
        reasoning=next(filter(None, (_text(message.get(name)) for name in _THOUGHTS)), ""),
        calls=calls,
        call_id=call_id if isinstance(call_id, str) else None,
    )


def _arguments(value: JsonValue) -> str:
    """Return the arguments of a call: OpenAI has JSON in a text, Ollama the object itself."""
    return json.dumps(value, ensure_ascii=False) if isinstance(value, dict) else _text(value)


def parts_of(content: JsonValue) -> list[str]:
    """Return the words of `content`, a text for each of its parts that has any; pictures and sounds are named."""
    if isinstance(content, str):
        return [content] if content else []
    if not isinstance(content, list):
        return []
    return [text for part in content if (text := part if isinstance(part, str) else _part(object_of(part)))]


def _text(value: JsonValue) -> str:
    return "\n".join(parts_of(value))


def _part(part: Mapping[str, JsonValue]) -> str:
    if isinstance(text := part.get("text"), str):
        return text
    kind = part.get("type")
    if not isinstance(kind, str):
        return ""
    # The Responses have the URL of a picture right in its part.
    inner = object_of(part.get(kind)) or object_of(part.get("source")) or {"url": part.get("image_url")}
    where = next((inner[name] for name in ("url", "data") if isinstance(inner.get(name), str)), None)
    return where if isinstance(where, str) and where.startswith("[media ") else f"[{kind} {where or ''}".rstrip() + "]"
