"""The Responses' requests as chat completions. Pure.

Source: https://platform.openai.com/docs/api-reference/responses/create
"""

from __future__ import annotations

import json
from collections.abc import Collection, Sequence

from dmrc.errors import InputError
from dmrc.exchange import JsonValue
from dmrc.gateway.dialects.chat_answers import Document, asking_for_counts
from dmrc.gateway.dialects.known_fields import Fields
from dmrc.gateway.dialects.responses_items import messages
from dmrc.gateway.dialects.shapes import given_object, given_objects

# The Responses' name, and that of a chat completion.
_PLAIN = {
    **{name: name for name in ("model", "temperature", "top_p", "stream")},
    "max_output_tokens": "max_tokens",
}
_FIELDS = Fields(
    (
        *(*_PLAIN, "input", "instructions", "previous_response_id", "store", "tools", "tool_choice", "text"),
        *("reasoning", "truncation", "include", "top_logprobs", "metadata", "parallel_tool_calls"),
    ),
    (
        *("user", "safety_identifier", "prompt_cache_key", "prompt_cache_retention", "service_tier"),
        *("stream_options", "max_tool_calls", "client_metadata"),
    ),
    {
        "prompt": "is kept by OpenAI itself",
        "conversation": "is kept by OpenAI itself",
        "background": "is not done here: an answer is given at once",
        "context_management": "is not done here",
    },
)
_LOGPROBS = "message.output_text.logprobs"
_FORMS = ("text", "json_object", "json_schema")
_FLAGS = ("store", "stream", "parallel_tool_calls")


def chat(document: Document, items: Sequence[JsonValue]) -> Document:
    """Return the body of `/v1/chat/completions` for one of `/v1/responses`; `items` are all that was said.

    Raises:
        InputError: It asks for something that only OpenAI has; that is named.
    """
    result = _FIELDS.check(document)
    _check(document)
    result |= {new: document[old] for old, new in _PLAIN.items() if document.get(old) is not None}
    result["messages"] = messages(document.get("instructions"), items)
    functions = _functions(document.get("tools"))
    if functions:
        result["tools"] = functions
        if document.get("parallel_tool_calls") is not None:
            result["parallel_tool_calls"] = document["parallel_tool_calls"]
    result |= _choice(document.get("tool_choice"), has_tools=bool(functions))
    # Agents send "none" for every model that they do not know, and many servers refuse that.
    if (effort := given_object(document.get("reasoning"), "reasoning").get("effort")) == "none":
        kept = given_object(document.get("chat_template_kwargs"), "chat_template_kwargs")
        result["chat_template_kwargs"] = {**kept, "enable_thinking": False}
    elif effort is not None:
        result["reasoning_effort"] = effort
    if (count := document.get("top_logprobs")) or _LOGPROBS in _list(document, "include"):
        result |= {"logprobs": True, "top_logprobs": count or 0}
    return result | _form(document.get("text")) | asking_for_counts(result)


def _check(document: Document) -> None:
    """Check what chat completions have under another name, or not at all."""
    for name in _FLAGS:
        if not isinstance(document.get(name), bool | None):
            raise InputError(f"'{name}' is neither true nor false")
    for name, kind, what in (("metadata", dict, "object"), ("text", dict, "object"), ("reasoning", dict, "object")):
        if not isinstance(document.get(name), kind | None):
            raise InputError(f"'{name}' is no {what}")
    if not isinstance(document.get("instructions"), str | None):
        raise InputError("'instructions' is no text")
    limit = document.get("max_output_tokens")
    if limit is not None and (isinstance(limit, bool) or not isinstance(limit, int) or limit < 1):
        raise InputError("'max_output_tokens' must be a whole number above 0")
    _one_of("truncation", document.get("truncation"), ("disabled",))


def _one_of(name: str, value: JsonValue, known: Collection[str]) -> None:
    if value is not None and value not in known:
        raise InputError(
            f"'{name}' is {json.dumps(value)[:40]}, which is not done here", remedy=f"Use {', '.join(known)}"
        )


def _list(document: Document, name: str) -> list[JsonValue]:
    value = document.get(name)
    if not isinstance(value, list | None):
        raise InputError(f"'{name}' is no list")
    return value or []


def _form(text: JsonValue) -> Document:
    """Return the form of the answer, as a chat completion has it."""
    form = given_object(given_object(text, "text").get("format"), "text.format")
    kind = form.get("type")
    _one_of("text.format.type", kind, _FORMS)
    if kind in (None, "text"):
        return {}
    described: Document = {name: value for name, value in form.items() if name != "type" and value is not None}
    return {"response_format": {"type": kind, **({"json_schema": described} if described else {})}}


def _functions(value: JsonValue) -> list[JsonValue]:
    """Return the functions. Agents name all that they know, and those that OpenAI would call itself are left out.

    Raises:
        InputError: There is nothing else.
    """
    tools, names = given_objects(value, "tools"), ("name", "description", "parameters", "strict")
    functions = [tool for tool in tools if tool.get("type") == "function"]
    if tools and not functions:
        raise InputError(f"tool '{tools[0].get('type')}' is called by OpenAI itself", remedy="Send functions")
    return [
        {"type": "function", "function": {name: tool[name] for name in names if tool.get(name) is not None}}
        for tool in functions
    ]


def _choice(wanted: JsonValue, *, has_tools: bool) -> Document:
    """Return the choice in the words of chat completions, which have the name of a function one level deeper."""
    if wanted is None or (wanted in ("auto", "none") and not has_tools):
        return {}
    if isinstance(wanted, str):
        return {"tool_choice": wanted}
    choice = given_object(wanted, "tool_choice")
    match choice.get("type"):
        case "function":
            return {"tool_choice": _named(choice)}
        case "allowed_tools":
            tools = [_named(tool) for tool in given_objects(choice.get("tools"), "tool_choice.tools")]
            allowed: Document = {"mode": choice.get("mode") or "auto", "tools": [*tools]}
            return {"tool_choice": {"type": "allowed_tools", "allowed_tools": allowed}}
        case other:
            raise InputError(f"a 'tool_choice' of type {json.dumps(other)} is called by OpenAI itself")


def _named(choice: Document) -> Document:
    if choice.get("type") != "function":
        raise InputError(f"tool '{choice.get('type')}' is called by OpenAI itself", remedy="Choose functions")
    return {"type": "function", "function": {"name": choice.get("name")}}
