"""From an OpenAI request to the arguments of llama-cpp-python's `Llama`: what it cannot do is refused, not left out."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Literal

RequestKind = Literal["chat", "completion", "embedding"]
"""What a request asks for."""

# What `Llama` takes; the rest would be a TypeError.
_SAMPLING = frozenset(
    {
        *("max_tokens", "temperature", "top_p", "top_k", "min_p", "typical_p", "stop", "seed", "logit_bias"),
        *("presence_penalty", "frequency_penalty", "repeat_penalty", "mirostat_mode", "mirostat_tau", "mirostat_eta"),
    }
)
_SERVED: Mapping[RequestKind, frozenset[str]] = {
    "chat": _SAMPLING | {"messages", "tools", "tool_choice", "response_format"},
    "completion": _SAMPLING | {"prompt", "suffix", "echo"},
    "embedding": frozenset({"input"}),
}
# What says something about the request, and nothing about the answer.
_NOTES = frozenset(
    {
        *("model", "stream", "stream_options", "max_completion_tokens", "user", "metadata", "store", "service_tier"),
        *("safety_identifier", "prompt_cache_key", "cache_prompt", "encoding_format", "parallel_tool_calls"),
    }
)
# Values that ask for nothing beyond what is done anyway.
_PLAIN: Mapping[str, tuple[object, ...]] = {"n": (1,), "best_of": (1,), "logprobs": (False,), "top_logprobs": (0,)}


class UnsupportedRequestError(Exception):
    """A request that this engine does not serve."""

    def __init__(self, message: str, status: int = 501, kind: str = "not_supported_error") -> None:
        """Answer with `status`; `kind` is the `error.type`."""
        super().__init__(message)
        self.status = status
        self.kind = kind


def arguments(kind: RequestKind, request: Mapping[str, Any]) -> dict[str, Any]:
    """Return what to call `Llama` with.

    Raises:
        RefusedError: It asks for something that this engine does not do; the field is named.
    """
    given = {name: value for name, value in request.items() if value is not None}
    if "max_completion_tokens" in given:
        given.setdefault("max_tokens", given["max_completion_tokens"])
    for name, value in given.items():
        if name not in _SERVED[kind] | _NOTES and value not in _PLAIN.get(name, ()):
            raise UnsupportedRequestError(
                f"engine 'llama-cpp-python' does not know '{name}' here. Use engine llama.cpp"
            )
    served = {name: value for name, value in given.items() if name in _SERVED[kind]}
    if kind == "chat":
        served["messages"] = [_message(message) for message in served.get("messages", [])]
        served |= _tools(served)
        if "response_format" in served:
            served["response_format"] = _format(served["response_format"])
    return served


def _message(message: Mapping[str, Any]) -> dict[str, Any]:
    """Return a message whose content is text: templates know nothing else."""
    content = message.get("content")
    if not isinstance(content, list):
        return dict(message)
    others = [part.get("type") for part in content if part.get("type") != "text"]
    if others:
        raise UnsupportedRequestError(f"engine 'llama-cpp-python' reads no '{others[0]}'. Use engine llama.cpp")
    return {**message, "content": "".join(part["text"] for part in content)}


def _tools(request: Mapping[str, Any]) -> dict[str, Any]:
    """Return the tool that is called: `Llama` binds the answer to one that is named, and recognises no other call."""
    tools, choice = request.get("tools") or [], request.get("tool_choice", "auto")
    if not tools or choice == "none":
        return {}
    if choice == "required" and len(tools) == 1:
        choice = {"type": "function", "function": {"name": tools[0]["function"]["name"]}}
    if not isinstance(choice, dict) or choice.get("type") != "function":
        raise UnsupportedRequestError(
            "engine 'llama-cpp-python' calls a tool only where tool_choice names it. Use engine llama.cpp"
        )
    for tool in tools:
        _check_schema(tool["function"].setdefault("parameters", {"type": "object"}))
    return {"tool_choice": choice}


def _format(wanted: Mapping[str, Any]) -> dict[str, Any]:
    """Return a response format in the form that `Llama` heeds."""
    match wanted.get("type"):
        case "text":
            return {"type": "text"}
        case "json_object":
            schema = wanted.get("schema")
        case "json_schema":
            schema = wanted.get("json_schema", {}).get("schema", {})
        case other:
            raise UnsupportedRequestError(
                f"engine 'llama-cpp-python' has no response_format '{other}'. Use engine llama.cpp"
            )
    if schema is None:
        return {"type": "json_object"}
    _check_schema(schema)
    return {"type": "json_object", "schema": schema}


def _check_schema(schema: object) -> None:
    """Refuse a schema without a grammar: `Llama` would take any JSON in its place."""
    from llama_cpp.llama_grammar import json_schema_to_gbnf

    try:
        json_schema_to_gbnf(json.dumps(schema))
    except Exception as error:
        raise UnsupportedRequestError(
            f"the JSON schema cannot be followed: {error}", 400, "invalid_request_error"
        ) from error
