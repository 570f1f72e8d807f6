"""The Responses' requests as chat completions. Pure.

Source: https://platform.openai.com/docs/api-reference/responses/create
"""

from __future__ import annotations

import json
from collections.abc import Sequence

from dmrc.dialects.chat.answers import asking_for_counts
from dmrc.dialects.chat.known_fields import Fields
from dmrc.dialects.chat.shapes import (
    COUNT,
    FLAG,
    LIST,
    OBJECT,
    TEXT,
    WHOLE,
    check_kinds,
    check_one_of,
    given_object,
    given_objects,
)
from dmrc.dialects.responses.items import messages
from dmrc.errors import InputError
from dmrc.exchange import JsonValue
from dmrc.fields import JsonObject
from dmrc.json_values import items_of

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
        *("user", "safety_identifier", "prompt_cache_key", "prompt_cache_retention", "prompt_cache_options"),
        *("service_tier", "stream_options", "max_tool_calls", "client_metadata"),
    ),
    {
        "prompt": "is kept by OpenAI itself",
        "conversation": "is kept by OpenAI itself",
        "background": "is not done here: an answer is given at once",
        "context_management": "is not done here",
    },
)
_KINDS = {
    **dict.fromkeys(("store", "stream", "parallel_tool_calls"), FLAG),
    **dict.fromkeys(("metadata", "text", "reasoning", "stream_options", "prompt_cache_options"), OBJECT),
    **dict.fromkeys(("instructions", "previous_response_id", "user", "safety_identifier", "service_tier"), TEXT),
    **dict.fromkeys(("prompt_cache_key", "prompt_cache_retention"), TEXT),
    **dict.fromkeys(("max_output_tokens", "max_tool_calls"), COUNT),
    "include": LIST,
    "top_logprobs": WHOLE,
}
_LOGPROBS = "message.output_text.logprobs"
# What these tell of are OpenAI's own tools, which are never called here.
_INCLUDED = (
    *("file_search_call.results", "web_search_call.results", "web_search_call.action.sources"),
    *("message.input_image.image_url", "computer_call_output.output.image_url", "code_interpreter_call.outputs"),
    *("reasoning.encrypted_content", _LOGPROBS),
)
_FORMS = ("text", "json_object", "json_schema")
_TEXT_FIELDS = Fields(("format", "verbosity"), ())
_STREAM_FIELDS = Fields(("include_usage",), ("include_obfuscation",))
_FORM_FIELDS = Fields(("type", "name", "description", "schema", "strict"), ())
_VERBOSITIES = ("low", "medium", "high")
_REASONING = Fields(("effort",), ("summary", "generate_summary", "context", "mode"))
_EFFORTS = ("none", "minimal", "low", "medium", "high", "xhigh", "max")
# Agents (Codex) name these to every server, beside the functions that they call themselves.
# Source: https://github.com/openai/codex/blob/main/codex-rs/core/src/tools/spec_plan.rs
_UNUSED = ("web_search", "namespace")
_TOLD = ("name", "description", "parameters", "strict")
_FUNCTION = Fields(
    ("type", *_TOLD),
    ("defer_loading", "allowed_callers", "output_schema"),
    {"async": "is not done here: a call is answered in the next request"},
)


def chat(document: JsonObject, items: Sequence[JsonValue]) -> JsonObject:
    """Return the body of `/v1/chat/completions` for one of `/v1/responses`; `items` are all that was said.

    Raises:
        InputError: It asks for something that only OpenAI has; that is named. What `check` checks is not.
    """
    result = _FIELDS.check(document)
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
    if (verbosity := given_object(document.get("text"), "text").get("verbosity")) not in (None, "medium"):
        result["verbosity"] = verbosity
    return result | _form(document.get("text")) | asking_for_counts(result)


def check(document: JsonObject) -> None:
    """Check what chat completions have under another name, or not at all.

    Raises:
        InputError: It cannot be meant.
    """
    check_kinds(document, _KINDS)
    check_one_of("truncation", document.get("truncation"), ("disabled",))
    for number, name in enumerate(_list(document, "include")):
        check_one_of(f"include[{number}]", name or "", _INCLUDED)
    reasoning, text = given_object(document.get("reasoning"), "reasoning"), given_object(document.get("text"), "text")
    _REASONING.check_inner(reasoning, " of 'reasoning'")
    check_one_of("reasoning.effort", reasoning.get("effort"), _EFFORTS)
    _TEXT_FIELDS.check_inner(text, " of 'text'")
    check_one_of("text.verbosity", text.get("verbosity"), _VERBOSITIES)
    _STREAM_FIELDS.check_inner(given_object(document.get("stream_options"), "stream_options"), " of 'stream_options'")


def _list(document: JsonObject, name: str) -> list[JsonValue]:
    value = document.get(name)
    if not isinstance(value, list | None):
        raise InputError(f"'{name}' must be a list")
    return value or []


def _form(text: JsonValue) -> JsonObject:
    """Return the form of the answer, as a chat completion has it."""
    form = given_object(given_object(text, "text").get("format"), "text.format")
    _FORM_FIELDS.check_inner(form, " of 'text.format'")
    kind = form.get("type")
    check_one_of("text.format.type", kind, _FORMS)
    if kind in (None, "text"):
        return {}
    described: JsonObject = {name: value for name, value in form.items() if name != "type" and value is not None}
    return {"response_format": {"type": kind, **({"json_schema": described} if described else {})}}


def _functions(value: JsonValue) -> list[JsonValue]:
    """Return the functions.

    Raises:
        InputError: A tool is none, and not one of those that are `unused`.
    """
    functions: list[JsonValue] = []
    tools = given_objects(value, "tools")
    for number, tool in enumerate(tools):
        kind = tool.get("type")
        if kind == "function":
            _FUNCTION.check_inner(tool, f" of tool '{tool.get('name')}'")
            told: JsonObject = {name: tool[name] for name in _TOLD if tool.get(name) is not None}
            functions.append({"type": "function", "function": told})
        elif kind not in _UNUSED:
            raise InputError(f"'tools[{number}]' is of type {json.dumps(kind)[:40]}", remedy="Send functions")
    if tools and not functions:
        raise InputError(f"tool '{tools[0].get('type')}' is called by OpenAI itself", remedy="Send functions")
    return functions


def unused(value: JsonValue) -> tuple[str, ...]:
    """Return which of the tools a model is not told of, as `tools[3] (web_search)`."""
    tools = enumerate(items_of(value))
    return tuple(f"tools[{number}] ({tool['type']})" for number, tool in tools if tool.get("type") in _UNUSED)


def used(value: JsonValue) -> list[JsonValue]:
    """Return the tools that a model is told of, as they came."""
    return [tool for tool in items_of(value) if tool.get("type") not in _UNUSED]


def _choice(wanted: JsonValue, *, has_tools: bool) -> JsonObject:
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
            mode = "auto" if choice.get("mode") is None else choice["mode"]
            allowed: JsonObject = {"mode": mode, "tools": [*tools]}
            return {"tool_choice": {"type": "allowed_tools", "allowed_tools": allowed}}
        case other:
            raise InputError(f"a 'tool_choice' of type {json.dumps(other)} is called by OpenAI itself")


def _named(choice: JsonObject) -> JsonObject:
    if choice.get("type") != "function":
        raise InputError(f"tool '{choice.get('type')}' is called by OpenAI itself", remedy="Choose functions")
    return {"type": "function", "function": {"name": choice.get("name")}}
