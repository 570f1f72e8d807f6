"""What a request asks for beside its words: temperature, most tokens, tools offered, in every dialect. Pure."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from dmrc.dialects.table import is_built_in
from dmrc.exchange import Exchange, JsonValue
from dmrc.json_values import items_of, object_of

# What is said, and to whom: it is shown elsewhere.
_CONTENT = frozenset(
    {
        *("model", "messages", "prompt", "input", "system", "instructions", "query", "documents", "images", "suffix"),
        *("tools", "functions", "context", "options"),
    }
)
_LABELS = {
    "temperature": "Temperature",
    "max_tokens": "Max tokens",
    "max_completion_tokens": "Max tokens",
    "max_output_tokens": "Max tokens",
    "num_predict": "Max tokens",
    "top_p": "Top p",
    "top_k": "Top k",
    "min_p": "Min p",
    "seed": "Seed",
    "stop": "Stop",
    "stop_sequences": "Stop",
    "response_format": "Format",
    "format": "Format",
    "text": "Format",
    "tool_choice": "Tool choice",
    "parallel_tool_calls": "Parallel tool calls",
    "reasoning_effort": "Reasoning",
    "reasoning": "Reasoning",
    "thinking": "Reasoning",
    "think": "Reasoning",
    "presence_penalty": "Presence penalty",
    "frequency_penalty": "Frequency penalty",
    "repeat_penalty": "Repeat penalty",
    "n": "Answers",
    "num_ctx": "Context",
    "keep_alive": "Keep alive",
    "stream": "Stream",
    "encoding_format": "Encoding",
    "dimensions": "Dimensions",
    "previous_response_id": "Goes on from",
}


@dataclass(frozen=True, slots=True)
class RequestParameter:
    """One value that the caller set."""

    name: str
    """As the caller wrote it: `max_tokens`, `options.num_predict`."""
    label: str
    """For people: `Max tokens`; the name, where nobody gave it another one."""
    text: str
    """Its value: a word as it is, anything else as JSON."""


@dataclass(frozen=True, slots=True)
class OfferedTool:
    """A tool that the model may call."""

    name: str
    """Of the function; of a tool of the server's own, its type."""
    description: str
    """What it is for, in the caller's words; "" where nothing is said."""
    schema: str
    """JSON Schema of its arguments, on several lines; "" where there is none."""


def parameters_of(exchange: Exchange, request: Mapping[str, JsonValue]) -> list[RequestParameter]:
    """Return the values that a request sets, those that people know first; Ollama's `options` are among them.

    `request` is its body. Of a plugin's dialect those alone that others have too: the rest may be what is said.
    """
    is_ours = is_built_in(exchange.dialect, exchange.operation)
    own = [
        (name, name, value) for name, value in request.items() if name not in _CONTENT and (is_ours or name in _LABELS)
    ]
    options = [(f"options.{name}", name, value) for name, value in object_of(request.get("options")).items()]
    found = [
        RequestParameter(name, _LABELS.get(short, name), _text(value))
        for name, short, value in [*own, *options]
        if value is not None
    ]
    order = list(dict.fromkeys(_LABELS.values()))
    return sorted(found, key=lambda one: order.index(one.label) if one.label in order else len(order))


def tools_of(request: Mapping[str, JsonValue]) -> list[OfferedTool]:
    """Return the tools that a request offers: OpenAI's and Ollama's, the Responses', Anthropic's."""
    return [*map(_tool, items_of(request.get("tools"))), *map(_tool, items_of(request.get("functions")))]


def _tool(tool: Mapping[str, JsonValue]) -> OfferedTool:
    # Chat completions have it in `function`, the others right in the tool; Anthropic names the schema otherwise.
    told = object_of(tool.get("function")) or tool
    name = next(_words(told.get("name"), tool.get("name"), tool.get("type")), "tool")
    schema = told.get("parameters") or told.get("input_schema")
    written = json.dumps(schema, indent=2, ensure_ascii=False) if schema else ""
    return OfferedTool(name, next(_words(told.get("description")), ""), written)


def _words(*values: JsonValue) -> Iterator[str]:
    return (value for value in values if isinstance(value, str) and value)


def _text(value: JsonValue) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
