"""The tools of a chat completion, and which of them must be called. Pure.

Source: https://platform.openai.com/docs/api-reference/chat/create
"""

from __future__ import annotations

import json
from dataclasses import dataclass

from dmrc.dialects.chat.messages import shown
from dmrc.dialects.chat.schemas import described, kept_schema
from dmrc.dialects.chat.served import Served
from dmrc.errors import InputError
from dmrc.exchange import JsonValue
from dmrc.fields import JsonObject
from dmrc.json_values import items_of, object_of
from dmrc.suggestions import did_you_mean

_CHOICES = ("none", "auto", "required")


@dataclass(frozen=True, slots=True)
class _Wanted:
    """What `tool_choice` asks for."""

    mode: str
    """`none`, `auto` or `required`."""
    names: tuple[str, ...] | None = None
    """The only functions that may be called; None: all of them."""


def checked_tools(document: JsonObject, served: Served) -> tuple[JsonObject, bool]:
    """Return the fields of a request to change for its tools, and whether the answer must be a call (`forced_calls`).

    A field that is None is to be left out. What the engine heeds by itself stays as it is.

    Raises:
        InputError: A tool, or the choice of one, cannot be meant, or not with this model; it is named.
    """
    tools = _tools(document.get("tools"), served)
    wanted = _wanted(document.get("tool_choice"), served)
    if wanted is None:
        return {}, False
    functions = [object_of(tool.get("function")) for tool in items_of(tools)]
    if not functions:
        if wanted.mode == "required":
            raise InputError("'tool_choice' wants a call, and the request has no 'tools'", remedy="Send 'tools'")
        return {}, False
    changes: JsonObject = {} if tools is document.get("tools") else {"tools": tools}
    if wanted.names is not None:
        functions = _named(functions, wanted.names)
        kept: list[JsonValue] = [{"type": "function", "function": function} for function in functions]
        changes |= {"tools": kept, "tool_choice": wanted.mode}
    if not served.keeps_schemas or wanted.mode == "none":
        return changes, False
    if wanted.mode == "required":
        return changes | _forcing(document, functions, served), True
    if served.drops_tools:
        raise InputError(
            f"model '{served.reference}' does not support tools: its chat template has no place for them",
            remedy="Use one that does; give it a template: x-dmrc: {chat_template: ./FILE}; or set 'tool_choice'",
        )
    return changes, False


def _tools(value: JsonValue, served: Served) -> JsonValue:
    """Return the tools; the very same list where nothing had to be fixed."""
    if value is None:
        return None
    if not isinstance(value, list):
        raise InputError(f"'tools' must be a list, not {shown(value)}")
    tools = [_tool(tool, f"tools[{number}]", served) for number, tool in enumerate(value)]
    return value if all(new is old for new, old in zip(tools, value, strict=True)) else tools


def _tool(tool: JsonValue, where: str, served: Served) -> JsonValue:
    if not isinstance(tool, dict):
        raise InputError(f"{where} must be a tool, not {shown(tool)}")
    kind, function = tool.get("type"), tool.get("function")
    if kind != "function" and not (kind is None and isinstance(function, dict)):
        if served.is_upstream and isinstance(kind, str):
            return tool
        raise InputError(
            f"{where} is of type {shown(kind)}, which is not supported",
            remedy='Send {"type": "function", "function": {"name": "…", "parameters": {…}}}',
        )
    if not isinstance(function, dict):
        raise InputError(f"{where} has no 'function'", remedy='Send "function": {"name": "…", "parameters": {…}}')
    if not isinstance(name := function.get("name"), str) or not name:
        raise InputError(f"{where}.function has no 'name'")
    if not isinstance(function.get("description"), str | None):
        raise InputError(f"{where}.function.description must be a string, not {shown(function['description'])}")
    if not isinstance(function.get("strict"), bool | None):
        raise InputError(f"{where}.function.strict must be true or false, not {shown(function['strict'])}")
    parameters = function.get("parameters")
    if not isinstance(parameters, dict | None):
        raise InputError(f"{where}.function.parameters must be a JSON schema, not {shown(parameters)}")
    kept = kept_schema(parameters, f"{where}.function.parameters") if served.is_llama_cpp else parameters
    if kind is not None and kept is parameters and None not in function.values():
        return tool
    said = {**function, "parameters": kept}
    return {**tool, "type": "function", "function": {key: one for key, one in said.items() if one is not None}}


def _wanted(choice: JsonValue, served: Served) -> _Wanted | None:
    """Return what `tool_choice` asks for; None where only an upstream may know."""
    if choice is None:
        return _Wanted("auto")
    if isinstance(choice, str) and choice in _CHOICES:
        return _Wanted(choice)
    kind = object_of(choice).get("type")
    if kind == "function":
        name = object_of(object_of(choice).get("function")).get("name") or object_of(choice).get("name")
        if not isinstance(name, str):
            raise InputError("'tool_choice' names no function", remedy='Send "function": {"name": "…"}')
        return _Wanted("required", (name,))
    if kind == "allowed_tools":
        allowed = object_of(object_of(choice).get("allowed_tools")) or object_of(choice)
        named = [object_of(tool.get("function")) or tool for tool in items_of(allowed.get("tools"))]
        mode = allowed.get("mode", "auto")
        if not named or mode not in _CHOICES:
            raise InputError("'tool_choice.allowed_tools' has no 'tools', or no 'mode' of 'auto' and 'required'")
        return _Wanted(str(mode), tuple(str(one.get("name")) for one in named))
    if served.is_upstream:
        return None
    meant = shown(choice if kind is None else kind)
    raise InputError(f"'tool_choice' is {meant}", remedy=f"Send {', '.join(_CHOICES)}, or the name of a function")


def _named(functions: list[JsonObject], names: tuple[str, ...]) -> list[JsonObject]:
    known = [str(function.get("name")) for function in functions]
    for name in names:
        if name not in known:
            raise InputError(
                f"'tool_choice' names the function '{name}', which is not one of the tools{did_you_mean(name, known)}",
                remedy=f"The tools are {', '.join(known)}",
            )
    return [function for function in functions if function.get("name") in names]


def _forcing(document: JsonObject, functions: list[JsonObject], served: Served) -> JsonObject:
    """Return what makes the answer a call, whatever the model would rather say: a grammar of our own.

    llama.cpp's `required` lets the model write prose before the call, and a small one writes nothing else.
    """
    wanted = document.get("response_format")
    if isinstance(wanted, dict) and wanted.get("type") not in (None, "text"):
        raise InputError("'response_format' and a 'tool_choice' that wants a call exclude one another")
    schema: JsonObject = {"name": "call", "schema": dict(described(functions))}
    changes: JsonObject = {
        "tool_choice": "none",
        "response_format": {"type": "json_schema", "json_schema": schema},
        "parallel_tool_calls": None,
    }
    if served.drops_tools:
        changes |= {"tools": None, "messages": _told(items_of(document.get("messages")), functions)}
    return changes


def _told(messages: list[JsonObject], functions: list[JsonObject]) -> JsonValue:
    """Return the messages with the functions in the system's, for a template that has no place for them."""
    lines = [json.dumps(function, ensure_ascii=False) for function in functions]
    words = "\n".join(
        ['Call a function. Answer with JSON alone: {"name": "…", "arguments": {…}}. The functions are:', *lines]
    )
    if messages[0].get("role") not in ("system", "developer"):
        return [{"role": "system", "content": words}, *messages]
    first = messages[0]
    said = first.get("content")
    parts = [{"type": "text", "text": said}] if isinstance(said, str) else items_of(said)
    told: list[JsonValue] = [*parts, {"type": "text", "text": words}]
    content: JsonValue = f"{said}\n\n{words}" if isinstance(said, str) else told
    return [{**first, "content": content}, *messages[1:]]
