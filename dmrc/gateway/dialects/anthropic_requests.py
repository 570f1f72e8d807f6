"""Anthropic's requests as chat completions, for engines that know nothing else. Pure.

Source: https://docs.anthropic.com/en/api/messages
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping

from dmrc.capture.bodies import items_of, object_of
from dmrc.errors import InputError
from dmrc.exchange import JsonValue
from dmrc.gateway.dialects.chat_answers import Document, asking_for_counts

# Anthropic's name, and that of a chat completion.
_PLAIN = {
    **{name: name for name in ("model", "max_tokens", "temperature", "top_p", "top_k", "stream")},
    "stop_sequences": "stop",
}
_CHOICES = {"auto": "auto", "any": "required", "none": "none"}


def chat(document: Document) -> Document:
    """Return the body of `/v1/chat/completions` for one of `/v1/messages`.

    Raises:
        InputError: It asks for something that only Anthropic has; that is named.
    """
    if document.get("mcp_servers"):
        raise InputError("'mcp_servers' are called by Anthropic itself", remedy="Call them yourself, as tools")
    result = {new: document[old] for old, new in _PLAIN.items() if document.get(old) is not None}
    result["messages"] = _messages(document)
    if tools := _functions(items_of(document.get("tools"))):
        result["tools"] = tools
        result |= _choice(object_of(document.get("tool_choice")))
    if object_of(document.get("thinking")).get("type") == "disabled":
        result["chat_template_kwargs"] = {"enable_thinking": False}
    if schema := wanted_schema(document):
        described: Document = {"name": "answer", "schema": schema}
        result["response_format"] = {"type": "json_schema", "json_schema": described}
    return result | asking_for_counts(result)


def wanted_schema(document: Document) -> Document:
    """Return the JSON schema that the answer must follow; an empty one where it is free."""
    form = object_of(object_of(document.get("output_config")).get("format"))
    return object_of(form.get("schema")) if form.get("type") == "json_schema" else {}


def _messages(document: Document) -> list[JsonValue]:
    found: list[JsonValue] = []
    if system := _words(document.get("system")):
        found.append({"role": "system", "content": system})
    for message in items_of(document.get("messages")):
        content = message.get("content")
        text: Document = {"type": "text", "text": content}
        blocks = [text] if isinstance(content, str) else items_of(content)
        found += _said(blocks) if message.get("role") == "assistant" else _asked(str(message.get("role")), blocks)
    return found


def _asked(role: str, blocks: list[Document]) -> list[JsonValue]:
    """Return the results of tools first, each a message of its own: they answer the message before."""
    results: list[JsonValue] = []
    parts: list[JsonValue] = []
    for block in blocks:
        if block.get("type") != "tool_result":
            parts.append(_part(block))
            continue
        content = block.get("content")
        shown = [] if isinstance(content, str) else [_part(one) for one in items_of(content)]
        pictures = [part for part in shown if object_of(part).get("type") == "image_url"]
        # A tool's message has words only: what it shows comes after it.
        parts += pictures
        words = content if isinstance(content, str) else _joined([part for part in shown if part not in pictures])
        results.append({"role": "tool", "tool_call_id": block.get("tool_use_id"), "content": words})
    if not parts:
        return results
    has_pictures = any(object_of(part).get("type") != "text" for part in parts)
    return [*results, {"role": role, "content": parts if has_pictures else _joined(parts)}]


def _said(blocks: list[Document]) -> list[JsonValue]:
    """Return an answer of the model's, as one message."""
    words, thoughts, calls = [], [], []
    for block in blocks:
        match block.get("type"):
            case "thinking":
                thoughts.append(str(block.get("thinking") or ""))
            case "redacted_thinking":
                continue  # only Anthropic can read it
            case "tool_use":
                arguments = json.dumps(block.get("input") or {}, ensure_ascii=False)
                function: Document = {"name": block.get("name"), "arguments": arguments}
                calls.append({"id": block.get("id"), "type": "function", "function": function})
            case _:
                words.append(_part(block))
    message: Document = {"role": "assistant", "content": _joined(words)}
    if thoughts:
        message["reasoning_content"] = "\n".join(thoughts)
    if calls:
        message["tool_calls"] = [*calls]
    return [message]


def _part(block: Document) -> JsonValue:
    source = object_of(block.get("source"))
    kind = source.get("type")
    match block.get("type"):
        case "text":
            return {"type": "text", "text": block.get("text")}
        case "image" if kind in _PICTURES:
            return {"type": "image_url", "image_url": {"url": _PICTURES[str(kind)](source)}}
        case "document" if kind == "text":
            return {"type": "text", "text": source.get("data")}
        case "document" if kind == "content":
            return {"type": "text", "text": _words(source.get("content"))}
        case other:
            name = f"{other} from a {kind}" if kind else other
            raise InputError(f"this engine reads no '{name}'", remedy="Send text or pictures")


_PICTURES: Mapping[str, Callable[[Document], JsonValue]] = {
    "base64": lambda source: f"data:{source.get('media_type')};base64,{source.get('data')}",
    "url": lambda source: source.get("url"),
}


def _functions(tools: list[Document]) -> list[JsonValue]:
    """Return the tools that the caller calls. Agents name all that they know, and Anthropic's own are left out.

    Raises:
        InputError: There is nothing else.
    """
    names = {"name": "name", "description": "description", "input_schema": "parameters"}
    own = [tool for tool in tools if tool.get("type") in (None, "custom")]
    if tools and not own:
        kind = tools[0].get("type")
        raise InputError(f"tool '{kind}' is called by Anthropic itself", remedy="Send tools with an 'input_schema'")
    functions = [{new: tool[old] for old, new in names.items() if tool.get(old) is not None} for tool in own]
    return [{"type": "function", "function": function} for function in functions]


def _choice(wanted: Document) -> Document:
    result: Document = {}
    if (kind := str(wanted.get("type"))) in _CHOICES:
        result["tool_choice"] = _CHOICES[kind]
    elif kind == "tool":
        result["tool_choice"] = {"type": "function", "function": {"name": wanted.get("name")}}
    if wanted.get("disable_parallel_tool_use"):
        result["parallel_tool_calls"] = False
    return result


def _words(value: JsonValue) -> str:
    return value if isinstance(value, str) else _joined([_part(block) for block in items_of(value)])


def _joined(parts: list[JsonValue]) -> str:
    return "\n".join(str(object_of(part).get("text") or "") for part in parts)
