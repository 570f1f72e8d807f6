"""Anthropic's requests as chat completions. Pure.

Source: https://docs.anthropic.com/en/api/messages
"""

from __future__ import annotations

import json

from dmrc.dialects.anthropic.blocks import checked_block, joined, parts, words
from dmrc.dialects.chat.answers import asking_for_counts
from dmrc.dialects.chat.known_fields import Fields
from dmrc.dialects.chat.shapes import (
    AMOUNT,
    FLAG,
    OBJECT,
    TEXT,
    TEXTS,
    WHOLE,
    WHOLE_VALUE,
    check_kinds,
    check_one_of,
    given_object,
    given_objects,
)
from dmrc.errors import InputError, ThreadError
from dmrc.exchange import JsonValue
from dmrc.fields import JsonObject

# Anthropic's name, and that of a chat completion.
_PLAIN = {
    **{name: name for name in ("model", "max_tokens", "temperature", "top_p", "top_k", "stream")},
    "stop_sequences": "stop",
}
_FIELDS = Fields(
    (*_PLAIN, "messages", "system", "tools", "tool_choice", "thinking", "output_config", "output_format", "thread"),
    # What context management takes out is what has become old; here everything stays.
    (
        *("metadata", "service_tier", "cache_control", "inference_geo", "speed", "user_profile_id"),
        *("workspace_id", "diagnostics", "context_management"),
    ),
    {
        "mcp_servers": "are called by Anthropic itself",
        "container": "is kept by Anthropic itself",
    },
)
_KINDS = {
    **dict.fromkeys(("metadata", "cache_control", "diagnostics", "context_management"), OBJECT),
    **dict.fromkeys(("service_tier", "inference_geo", "speed", "user_profile_id", "workspace_id"), TEXT),
    "max_tokens": AMOUNT,
    "top_k": WHOLE_VALUE,
    "stop_sequences": TEXTS,
    "stream": FLAG,
}
_CONFIG = Fields(("format", "effort"), ())
_THINKING = Fields(("type", "budget_tokens"), ("display", "block_binding"))
# The model's template says when it thinks.
_THINKINGS = ("enabled", "disabled", "adaptive", "between_tools")
_TOLD = {"name": "name", "description": "description", "input_schema": "parameters", "strict": "strict"}
_TOOL = Fields(
    ("type", *_TOLD),
    ("cache_control", "eager_input_streaming", "defer_loading", "allowed_callers"),
    {"input_examples": "are not told to a model here; its description can hold them"},
)
_CHOICE = Fields(("type", "name", "disable_parallel_tool_use"), ())
_CHOICES = {"auto": "auto", "any": "required", "none": "none"}
_EFFORTS = {"low": "low", "medium": "medium", "high": "high", "xhigh": "high", "max": "high"}


def chat(document: JsonObject) -> JsonObject:
    """Return the body of `/v1/chat/completions` for one of `/v1/messages`.

    Raises:
        InputError: It asks for something that only Anthropic has; that is named.
    """
    if document.get("thread"):
        raise ThreadError("dmrc keeps no 'thread' of messages", remedy="Send the whole conversation without it")
    result = _FIELDS.check(document)
    check_kinds(document, _KINDS)
    result |= {new: document[old] for old, new in _PLAIN.items() if document.get(old) is not None}
    result["messages"] = _messages(document)
    if tools := _functions(document.get("tools")):
        result["tools"] = tools
    result |= _choice(document.get("tool_choice"), has_tools=bool(tools))
    if _thinking(document) == "disabled":
        kept = given_object(document.get("chat_template_kwargs"), "chat_template_kwargs")
        result["chat_template_kwargs"] = {**kept, "enable_thinking": False}
    if schema := _wanted_schema(document):
        described: JsonObject = {"name": "answer", "schema": schema}
        result["response_format"] = {"type": "json_schema", "json_schema": described}
    return result | asking_for_counts(result)


def _thinking(document: JsonObject) -> JsonValue:
    """Return how a model is to think, as Anthropic calls it."""
    thinking = given_object(document.get("thinking"), "thinking")
    _THINKING.check_inner(thinking, " of 'thinking'")
    check_kinds(thinking, {"budget_tokens": WHOLE}, " of 'thinking'")
    check_one_of("thinking.type", kind := thinking.get("type"), _THINKINGS)
    return kind


def of_llama_cpp(document: JsonObject) -> JsonObject:
    """Return what only llama.cpp's server is asked for: how much to think, to tell what it reads, and what ends it."""
    # Some clients read the tokens of the prompt in the first event, which comes before an answer is counted.
    result: JsonObject = {"return_progress": True} if document.get("stream") is True else {}
    if isinstance(budget := given_object(document.get("thinking"), "thinking").get("budget_tokens"), int):
        result["thinking_budget_tokens"] = budget
    effort = given_object(document.get("output_config"), "output_config").get("effort")
    if isinstance(effort, str) and effort in _EFFORTS:
        result["reasoning_effort"] = _EFFORTS[effort]
    if document.get("stop_sequences"):
        result |= {"verbose": True, "response_fields": ["stopping_word"]}
    return result


def _wanted_schema(document: JsonObject) -> JsonObject:
    """Return the JSON schema that the answer must follow; an empty one where it is free."""
    config = given_object(document.get("output_config"), "output_config")
    _CONFIG.check_inner(config, " of 'output_config'")
    check_one_of("output_config.effort", config.get("effort"), tuple(_EFFORTS))
    form = given_object(config.get("format"), "output_config.format")
    form = form or given_object(document.get("output_format"), "output_format")
    if not form:
        return {}
    if form.get("type") != "json_schema" or not isinstance(schema := form.get("schema"), dict):
        raise InputError("the form of the answer is not json_schema with a schema", remedy="Send both, or no form")
    return schema


def _messages(document: JsonObject) -> list[JsonValue]:
    found: list[JsonValue] = []
    if system := words(document.get("system"), "system"):
        found.append({"role": "system", "content": system})
    for message in given_objects(document.get("messages"), "messages"):
        Fields(("role", "content"), ()).check_inner(message, " of a message")
        content = message.get("content")
        blocks: list[JsonObject] = (
            [{"type": "text", "text": content}] if isinstance(content, str) else given_objects(content, "content")
        )
        found += _said(blocks) if message.get("role") == "assistant" else _asked(message.get("role"), blocks)
    return found


def _asked(role: JsonValue, blocks: list[JsonObject]) -> list[JsonValue]:
    """Return the results of tools first, each a message of its own: they answer the message before."""
    results: list[JsonValue] = []
    rest: list[JsonObject] = []
    for block in blocks:
        if block.get("type") != "tool_result":
            rest += parts([block])
            continue
        checked_block(block)
        shown = parts(block.get("content"))
        pictures = [part for part in shown if part["type"] != "text"]
        # A tool's message has words only: what it shows comes after it.
        rest += pictures
        text = joined(part for part in shown if part["type"] == "text")
        said = f"Error: {text}" if block.get("is_error") else text
        results.append({"role": "tool", "tool_call_id": block.get("tool_use_id"), "content": said})
    if results and not rest:
        return results
    has_pictures = any(part["type"] != "text" for part in rest)
    return [*results, {"role": role, "content": [*rest] if has_pictures else joined(rest)}]


def _said(blocks: list[JsonObject]) -> list[JsonValue]:
    """Return an answer of the model's, as one message."""
    text: list[JsonObject] = []
    thoughts: list[str] = []
    calls: list[JsonValue] = []
    for block in blocks:
        match checked_block(block):
            case "thinking":
                thoughts.append(str(block.get("thinking") or ""))
            case "redacted_thinking":
                continue  # only Anthropic can read it
            case "tool_use":
                arguments = json.dumps(given_object(block.get("input"), "input"), ensure_ascii=False)
                function: JsonObject = {"name": block.get("name"), "arguments": arguments}
                calls.append({"id": block.get("id"), "type": "function", "function": function})
            case _:
                text += parts([block])
    message: JsonObject = {"role": "assistant", "content": _words(text)}
    if thoughts:
        message["reasoning_content"] = "\n".join(thoughts)
    if calls:
        message["tool_calls"] = calls
    return [message]


def _words(text: list[JsonObject]) -> str:
    """Return the words of an answer; a model shows no pictures."""
    if any(part["type"] != "text" for part in text):
        raise InputError("a message of the assistant holds a picture", remedy="Send it in a message of the user")
    return joined(text)


def _functions(tools: JsonValue) -> list[JsonValue]:
    """Return the tools that the caller calls.

    Raises:
        InputError: One is Anthropic's own, which its servers call, or its models know without a schema.
    """
    own = given_objects(tools, "tools")
    for tool in own:
        if (kind := tool.get("type")) not in (None, "custom"):
            raise InputError(
                f"tool '{kind}' is called by Anthropic itself, or known to its models alone",
                remedy="Send tools with an 'input_schema'",
            )
        _TOOL.check_inner(tool, f" of tool '{tool.get('name')}'")
    functions = [{new: tool[old] for old, new in _TOLD.items() if tool.get(old) is not None} for tool in own]
    return [{"type": "function", "function": function} for function in functions]


def _choice(value: JsonValue, *, has_tools: bool) -> JsonObject:
    if value is None:
        return {}
    wanted, result = given_object(value, "tool_choice"), JsonObject()
    _CHOICE.check_inner(wanted, " of 'tool_choice'")
    check_kinds(wanted, {"disable_parallel_tool_use": FLAG}, " of 'tool_choice'")
    kind = wanted.get("type")
    if kind == "tool":
        result["tool_choice"] = {"type": "function", "function": {"name": wanted.get("name")}}
    elif not isinstance(kind, str) or kind not in _CHOICES:
        raise InputError(f"a 'tool_choice' of type {json.dumps(kind)} is none", remedy="Use auto, any, tool or none")
    elif has_tools or kind == "any":
        result["tool_choice"] = _CHOICES[kind]
    if wanted.get("disable_parallel_tool_use") and has_tools:
        result["parallel_tool_calls"] = False
    return result
