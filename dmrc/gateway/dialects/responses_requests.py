"""OpenAI's Responses as chat completions, for engines that know nothing else. Pure.

Source: https://platform.openai.com/docs/api-reference/responses/create
"""

from __future__ import annotations

from collections.abc import Sequence

from dmrc.capture.bodies import items_of, object_of
from dmrc.errors import InputError
from dmrc.exchange import JsonValue
from dmrc.gateway.dialects.chat_answers import Document, asking_for_counts

# The Responses' name, and that of a chat completion.
_PLAIN = {
    **{name: name for name in ("model", "temperature", "top_p", "stream", "parallel_tool_calls")},
    "max_output_tokens": "max_tokens",
}
_KEPT_BY_OPENAI = ("prompt", "conversation")


def chat(document: Document, items: Sequence[JsonValue], form: Document) -> Document:
    """Return the body of `/v1/chat/completions` for one of `/v1/responses`.

    `items` are its `input` and all that was said before, `form` is the `response_format`.

    Raises:
        InputError: It asks for something that only OpenAI has; that is named.
    """
    for name in _KEPT_BY_OPENAI:
        if document.get(name):
            raise InputError(f"'{name}' is kept by OpenAI itself", remedy="Send 'instructions' and 'input'")
    result = {new: document[old] for old, new in _PLAIN.items() if document.get(old) is not None} | form
    result["messages"] = _messages(document.get("instructions"), items)
    if tools := _functions(items_of(document.get("tools"))):
        result["tools"] = tools
        if (choice := document.get("tool_choice")) is not None:
            result["tool_choice"] = _choice(choice)
    # Agents send "none" for every model that they do not know, and many servers refuse that.
    if (effort := object_of(document.get("reasoning")).get("effort")) not in (None, "none"):
        result["reasoning_effort"] = effort
    return result | asking_for_counts(result)


def _messages(instructions: JsonValue, items: Sequence[JsonValue]) -> list[JsonValue]:
    found: list[Document] = [{"role": "system", "content": instructions}] if instructions else []
    for item in items_of([*items]):
        match item.get("type", "message"):
            case "message":
                _add_message(found, item)
            case "reasoning":
                if thoughts := _joined(items_of(item.get("content"))):
                    found.append({"role": "assistant", "content": "", "reasoning_content": thoughts})
            case "function_call":
                function: Document = {"name": item.get("name"), "arguments": item.get("arguments") or "{}"}
                call: Document = {"id": item.get("call_id"), "type": "function", "function": function}
                message = _latest_answer(found)
                message["tool_calls"] = [*items_of(message.get("tool_calls")), call]
            case "function_call_output":
                output = item.get("output")
                words = output if isinstance(output, str) else _joined([_words(part) for part in items_of(output)])
                found.append({"role": "tool", "tool_call_id": item.get("call_id"), "content": words})
            case other:
                raise InputError(f"this engine takes no item of type '{other}'", remedy="Send messages and functions")
    return [*found]


def _add_message(found: list[Document], item: Document) -> None:
    """Add a message; the model's goes to the thoughts before it."""
    role = "system" if item.get("role") == "developer" else item.get("role")
    content = item.get("content")
    said: JsonValue = content
    if not isinstance(content, str):
        parts = [_part(part) for part in items_of(content)]
        has_pictures = any(part["type"] != "text" for part in parts)
        said = [*parts] if has_pictures else _joined(parts)
    if role == "assistant" and found and found[-1].keys() == {"role", "content", "reasoning_content"}:
        found[-1]["content"] = f"{found[-1]['content']}{said}"
    else:
        found.append({"role": role, "content": said})


def _latest_answer(found: list[Document]) -> Document:
    """Return the model's message that calls belong to: several calls, and the words before them, are one message."""
    if not found or found[-1]["role"] != "assistant":
        found.append({"role": "assistant", "content": ""})
    return found[-1]


def _part(part: Document) -> Document:
    if part.get("type") == "input_image" and isinstance(url := part.get("image_url"), str):
        return {"type": "image_url", "image_url": {"url": url}}
    return _words(part)


def _words(part: Document) -> Document:
    text = part.get("text") if "text" in part else part.get("refusal")
    if not isinstance(text, str):
        raise InputError(f"this engine reads no '{part.get('type')}' there", remedy="Send its text")
    return {"type": "text", "text": text}


def _functions(tools: list[Document]) -> list[JsonValue]:
    """Return the functions. Agents name all that they know, and those that OpenAI would call itself are left out.

    Raises:
        InputError: There is nothing else.
    """
    names = ("name", "description", "parameters", "strict")
    functions = [tool for tool in tools if tool.get("type") == "function"]
    if tools and not functions:
        raise InputError(f"tool '{tools[0].get('type')}' is called by OpenAI itself", remedy="Send functions")
    return [
        {"type": "function", "function": {name: tool[name] for name in names if tool.get(name) is not None}}
        for tool in functions
    ]


def _choice(wanted: JsonValue) -> JsonValue:
    if isinstance(wanted, str):
        return wanted
    if object_of(wanted).get("type") == "function":
        return {"type": "function", "function": {"name": object_of(wanted).get("name")}}
    raise InputError("'tool_choice' is neither a text nor a function")


def _joined(parts: Sequence[Document]) -> str:
    return "\n".join(str(part.get("text") or "") for part in parts)
