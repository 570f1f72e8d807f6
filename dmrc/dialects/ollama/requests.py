"""Ollama's requests in the words of llama.cpp's server. Pure.

Source: https://github.com/ollama/ollama/blob/main/docs/api.md
"""

from __future__ import annotations

import json
from collections.abc import Mapping

from dmrc.dialects.chat.answers import asking_for_counts
from dmrc.dialects.chat.known_fields import Fields
from dmrc.dialects.chat.shapes import FLAG, LIST, OBJECT, TEXT, TEXTS, WHOLE, check_kinds, given_object
from dmrc.dialects.ollama.context import messages_of
from dmrc.errors import InputError
from dmrc.exchange import JsonValue
from dmrc.fields import JsonObject
from dmrc.json_values import items_of, object_of

# What does not fit into the context is refused by name, whatever these say.
_OVERFLOW = ("truncate", "shift")
_ANSWER = ("model", "stream", "options", "format", "think", "logprobs", "top_logprobs")
_DEBUG = {"_debug_render_only": "is not done here: prompts are not shown"}
_PICTURE = dict.fromkeys(("width", "height", "steps"), "is about pictures, which no model here makes")
CHAT = Fields((*_ANSWER, "messages", "tools"), _OVERFLOW, _DEBUG)
"""The fields of `/api/chat`."""
GENERATE = Fields(
    (*_ANSWER, "prompt", "suffix", "images", "system", "context", "raw", "template"), _OVERFLOW, _DEBUG | _PICTURE
)
"""The fields of `/api/generate`."""
EMBED = Fields(("model", "input", "prompt", "truncate", "dimensions", "options"), ())
"""The fields of `/api/embed` and `/api/embeddings`."""
_KINDS = {
    **dict.fromkeys(("prompt", "suffix", "system", "template"), TEXT),
    **dict.fromkeys(("stream", "logprobs", "raw", *_OVERFLOW), FLAG),
    **dict.fromkeys(("messages", "tools"), LIST),
    "images": TEXTS,
    "options": OBJECT,
    "top_logprobs": WHOLE,
}
_MESSAGE = Fields(("role", "content", "images", "thinking", "tool_calls", "tool_call_id", "tool_name", "name"), ())
_KINDS_OF_MESSAGES = {
    **dict.fromkeys(("content", "thinking", "tool_call_id", "tool_name", "name"), TEXT),
    "images": TEXTS,
    "tool_calls": LIST,
}
# Ollama's name, and that of llama.cpp's server. What else may stand in `options` (num_ctx, num_gpu, num_thread, …) is
# about how a model is loaded: that is for the project and `dmrc configure` to say, and not for one request.
_OPTIONS = {
    **{name: name for name in ("temperature", "top_k", "top_p", "min_p", "typical_p", "seed", "stop")},
    **{name: name for name in ("repeat_last_n", "repeat_penalty", "presence_penalty", "frequency_penalty")},
    **{name: name for name in ("mirostat", "mirostat_tau", "mirostat_eta")},
    "num_predict": "max_tokens",
    "num_keep": "n_keep",
}
_UNBOUNDED = -1
# The beginnings of base64 of what the bytes of a picture begin with.
_PICTURES = {"iVBOR": "image/png", "/9j/": "image/jpeg", "R0lG": "image/gif", "UklGR": "image/webp", "Qk": "image/bmp"}


def left_out(document: JsonObject, fields: Fields) -> tuple[str, ...]:
    """Return which fields have no effect: Ollama itself ignores what it does not know, and clients rely on it.

    Raises:
        InputError: One is of a wrong kind, or cannot be done here.
    """
    check_kinds(document, _KINDS)
    found = fields.unread(document)
    options = given_object(document.get("options"), "options")
    read = () if fields is EMBED else _OPTIONS
    found += [f"options.{name}" for name, value in options.items() if name not in read and value is not None]
    for number, message in enumerate(items_of(document.get("messages"))):
        found += [f"messages[{number}].{name}" for name in _MESSAGE.unread(message)]
    return tuple(found)


def is_nothing(document: JsonObject, *names: str) -> bool:
    """Return whether a request asks for no words: it only wants the model loaded, or unloaded."""
    return not any(document.get(name) for name in names)


def chat(document: JsonObject) -> JsonObject:
    """Return the body of `/v1/chat/completions` for one of `/api/chat`.

    Raises:
        InputError: It cannot be meant.
    """
    result = _common(document)
    result["messages"] = _messages(document.get("messages"))
    if tools := document.get("tools"):
        result["tools"] = tools
    return {**result, **_thinking(document.get("think")), **_response_format(document.get("format"))}


def generate(document: JsonObject) -> JsonObject:
    """Return the body of `/v1/chat/completions` for one of `/api/generate`: the model's own template is applied.

    Raises:
        InputError: It cannot be meant.
    """
    messages = messages_of(document.get("context"))
    if system := _text(document, "system"):
        # A new one takes the place of the one before.
        before = [message for message in messages if object_of(message).get("role") != "system"]
        messages = [{"role": "system", "content": system}, *before]
    said = {"role": "user", "content": _text(document, "prompt"), "images": document.get("images")}
    messages.append(said)
    return chat({**document, "messages": messages, "tools": None})


def raw(document: JsonObject) -> JsonObject:
    """Return the body of `/v1/completions` for one of `/api/generate` with `raw`: no template is applied.

    Raises:
        InputError: It cannot be meant.
    """
    return {**_common(document), "prompt": _text(document, "prompt"), **_schema(document.get("format"))}


def infill(document: JsonObject) -> JsonObject:
    """Return the body of `/infill` for one of `/api/generate` with a `suffix`.

    Raises:
        InputError: It cannot be meant.
    """
    before, after = _text(document, "prompt"), _text(document, "suffix")
    return {**_common(document), "input_prefix": before, "input_suffix": after}


def embed(document: JsonObject) -> JsonObject:
    """Return the body of `/v1/embeddings` for one of `/api/embed`, or of the older `/api/embeddings` (`prompt`).

    Raises:
        InputError: It cannot be meant.
    """
    value = document.get("input") or document.get("prompt")
    texts: list[JsonValue] = value if isinstance(value, list) else [value]
    if not all(isinstance(text, str) for text in texts):
        raise InputError("'input' must be a string or a list of strings")
    wanted = document.get("dimensions")
    return {"input": texts, "model": document.get("model"), **({} if wanted is None else {"dimensions": wanted})}


def _common(document: JsonObject) -> JsonObject:
    options = given_object(document.get("options"), "options")
    result: JsonObject = {"model": document.get("model"), "stream": flag(document, "stream", default=True)}
    for name, value in options.items():
        if name in _OPTIONS and value is not None:
            result[_OPTIONS[name]] = _option(name, value)
    if flag(document, "logprobs", default=False):
        result |= {"logprobs": True, "top_logprobs": document.get("top_logprobs") or 0}
    return result | asking_for_counts(result)


def _option(name: str, value: JsonValue) -> JsonValue:
    if name == "stop":
        if isinstance(value, str):
            return [value]
        if isinstance(value, list) and all(isinstance(one, str) for one in value):
            return value
        raise InputError('option "stop" must be a list of strings')
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise InputError(f'option "{name}" must be a number')
    # Ollama's -2 fills the context, as llama.cpp's -1 does when the context does not shift.
    return _UNBOUNDED if name == "num_predict" and value < 0 else value


def _messages(value: JsonValue) -> JsonValue:
    if not isinstance(value, list):
        raise InputError("'messages' must be a list")
    found: list[JsonValue] = []
    open_calls: list[tuple[str, str]] = []
    for message in value:
        if not isinstance(message, dict) or not isinstance(message.get("role"), str):
            raise InputError("a message must be an object with a 'role'")
        check_kinds(message, _KINDS_OF_MESSAGES, " of a message")
        said: JsonObject = {"role": message["role"], "content": _content(message)}
        if isinstance(thinking := message.get("thinking"), str):
            said["reasoning_content"] = thinking
        if isinstance(calls := message.get("tool_calls"), list) and calls:
            told = [_call(call, f"call_{len(found)}_{number}") for number, call in enumerate(calls)]
            open_calls = [(str(one["id"]), str(object_of(one["function"])["name"])) for one in told]
            said["tool_calls"] = [*told]
        if message["role"] == "tool":
            said["tool_call_id"] = _answered_call(message, open_calls)
            if isinstance(tool := message.get("tool_name") or message.get("name"), str):
                said["name"] = tool
        found.append(said)
    return found


def _content(message: Mapping[str, JsonValue]) -> JsonValue:
    """Return the words, and the pictures that Ollama has beside them."""
    text = message.get("content") or ""
    images = message.get("images")
    if not isinstance(images, list) or not images:
        return text
    parts: list[JsonValue] = [{"type": "text", "text": text}] if text else []
    for image in images:
        parts.append({"type": "image_url", "image_url": {"url": _data_url(str(image))}})
    return parts


def _data_url(base64: str) -> str:
    kind = next((kind for beginning, kind in _PICTURES.items() if base64.startswith(beginning)), "image/jpeg")
    return f"data:{kind};base64,{base64}"


def _call(call: JsonValue, unnamed: str) -> JsonObject:
    """Return a call that the model made earlier; Ollama's may have no id, and its arguments are an object."""
    function = call.get("function") if isinstance(call, dict) else None
    if not isinstance(call, dict) or not isinstance(function, dict) or not isinstance(function.get("name"), str):
        raise InputError("a tool call has no 'function' with a 'name'")
    arguments = function.get("arguments")
    told: JsonObject = {
        "name": function["name"],
        "arguments": arguments if isinstance(arguments, str) else json.dumps(arguments or {}),
    }
    return {"id": call.get("id") or unnamed, "type": "function", "function": told}


def _answered_call(message: Mapping[str, JsonValue], open_calls: list[tuple[str, str]]) -> str:
    """Return the call that a tool's message answers: by its id, else by the tool's name, else the next one."""
    if isinstance(named := message.get("tool_call_id"), str):
        return named
    tool = message.get("tool_name") or message.get("name")
    index = next((index for index, (_, name) in enumerate(open_calls) if name == tool), 0)
    return open_calls.pop(index)[0] if open_calls else "call"


def _thinking(value: JsonValue) -> JsonObject:
    """Return what tells the template to let the model think, and how hard: `true`, `false`, `low`, `medium`, `high`."""
    if value is None:
        return {}
    if isinstance(value, bool):
        return {"chat_template_kwargs": {"enable_thinking": value}}
    if value in ("low", "medium", "high"):
        return {"chat_template_kwargs": {"enable_thinking": True, "reasoning_effort": value}}
    raise InputError(f"'think' is {json.dumps(value)[:40]}", remedy="Use true, false, low, medium or high")


def _response_format(value: JsonValue) -> JsonObject:
    if not (schema := _schema(value)):
        return {}
    if value == "json":
        return {"response_format": {"type": "json_object"}}
    wrapped: JsonObject = {"name": "format", "schema": schema["json_schema"]}
    return {"response_format": {"type": "json_schema", "json_schema": wrapped}}


def _schema(value: JsonValue) -> JsonObject:
    if value is None or value == "":
        return {}
    if value == "json":
        return {"json_schema": {"type": "object"}}
    if isinstance(value, dict):
        return {"json_schema": value}
    raise InputError(f"'format' is {json.dumps(value)[:40]}", remedy="Use json, or a JSON schema")


def _text(document: JsonObject, name: str) -> str:
    value = document.get(name)
    if value is not None and not isinstance(value, str):
        raise InputError(f"'{name}' must be a string")
    return value or ""


def flag(document: JsonObject, name: str, *, default: bool) -> bool:
    """Return what a request says by true or false; `default` where it says nothing.

    Raises:
        InputError: It says something else.
    """
    value = document.get(name)
    if value is not None and not isinstance(value, bool):
        raise InputError(f"'{name}' must be true or false")
    return default if value is None else value
