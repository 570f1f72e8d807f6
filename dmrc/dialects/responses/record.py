"""Requests and answers of OpenAI's Responses, as the record reads them: told in the words of chat completions.

Source: https://platform.openai.com/docs/api-reference/responses-streaming
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from dmrc.dialects.chat.recorded import call_begun, called, chunk, system_message, without_roles
from dmrc.dialects.chat.tool_arguments import ArgumentPlace
from dmrc.exchange import JsonValue
from dmrc.json_values import items_of, object_of

_Document = dict[str, JsonValue]
_TEXTS = {
    "response.output_text.delta": "content",
    "response.refusal.delta": "refusal",
    "response.reasoning_text.delta": "reasoning_content",
    "response.reasoning_summary_text.delta": "reasoning_content",
}
# OpenAI's chat completions say it so.
_INCOMPLETE = {"max_output_tokens": "length", "content_filter": "content_filter"}
_ENDS = ("response.completed", "response.incomplete", "response.failed")


def messages(request: Mapping[str, JsonValue]) -> list[_Document]:
    """Return the input; items `function_call`, `function_call_output`, `reasoning` become calls, results, thoughts."""
    items = items_of(request.get("input"))
    told = [one for item in items for one in _of_item(item)] or without_roles(request, "input")
    return [*system_message(request.get("instructions")), *told]


def _of_item(item: _Document) -> Iterator[_Document]:
    match item.get("type"):
        case "function_call":
            calls: list[JsonValue] = [called(item, "call_id", item.get("arguments"))]
            yield {"role": "assistant", "tool_calls": calls}
        case "function_call_output":
            yield {"role": "tool", "tool_call_id": item.get("call_id"), "content": item.get("output")}
        case "reasoning":
            parts = [*items_of(item.get("summary")), *items_of(item.get("content"))]
            texts = [text for one in parts if isinstance(text := one.get("text"), str)]
            yield {"role": "assistant", "reasoning_content": "\n".join(texts)}
        case _:
            yield item


class ResponsesReader:
    """Reads one answer; pieces of a tool call come without its number."""

    def __init__(self) -> None:
        self._calls = 0

    def read(self, said: _Document) -> _Document:
        """Return an event in the words of chat completions; nothing where it says nothing."""
        kind, item = said.get("type"), object_of(said.get("item"))
        if isinstance(kind, str) and kind in _TEXTS:
            return chunk({_TEXTS[kind]: said.get("delta")})
        if kind == "response.output_item.added" and item.get("type") == "function_call":
            self._calls += 1
            return chunk({"tool_calls": [call_begun(item, "call_id", self._calls - 1, "")]})
        if kind == "response.function_call_arguments.delta" and self._calls:
            return chunk({"tool_calls": [{"index": self._calls - 1, "function": {"arguments": said.get("delta")}}]})
        if kind in _ENDS:
            response = object_of(said.get("response"))
            return {**_end(response, self._calls), "timings": response.get("timings") or said.get("timings")}
        if said.get("object") == "response":
            return _whole(said)
        return {"error": said["error"]} if said.get("error") else {}


def _whole(response: _Document) -> _Document:
    items = items_of(response.get("output"))
    parts = [part for one in items if one.get("type") == "message" for part in items_of(one.get("content"))]
    thoughts = [part for one in items if one.get("type") == "reasoning" for part in items_of(one.get("content"))]
    calls = [one for one in items if one.get("type") == "function_call"]
    delta: _Document = {
        "content": _joined(parts),
        "reasoning_content": _joined(thoughts),
        "tool_calls": [call_begun(one, "call_id", index, one.get("arguments")) for index, one in enumerate(calls)],
    }
    (choice,) = items_of(chunk(delta, _reason(response, len(calls)))["choices"])
    return {**_end(response, len(calls)), "choices": [choice], "timings": response.get("timings")}


def _reason(response: _Document, calls: int) -> str:
    """Return why it ended, in the words of chat completions; one that failed keeps its status."""
    match response.get("status"):
        case "incomplete":
            reason = object_of(response.get("incomplete_details")).get("reason")
            return _INCOMPLETE.get(str(reason), str(reason or "length"))
        case "completed" | None:
            return "tool_calls" if calls else "stop"
        case status:
            return str(status)


def _end(response: _Document, calls: int) -> _Document:
    used = object_of(response.get("usage"))
    cached = object_of(used.get("input_tokens_details")).get("cached_tokens")
    usage: _Document = {
        "prompt_tokens": used.get("input_tokens"),
        "completion_tokens": used.get("output_tokens"),
        "prompt_tokens_details": {"cached_tokens": cached},
    }
    ending: _Document = {**chunk({}, _reason(response, calls)), "error": response.get("error")}
    return {**ending, "usage": usage} if used else ending


def _joined(parts: Iterable[_Document]) -> str:
    return "".join(str(part["text"]) for part in parts if isinstance(part.get("text"), str))


def tool_arguments(answer: _Document) -> Iterator[ArgumentPlace]:
    """Yield the places of arguments; a stream has them in pieces, and whole when a call, and when all, is done."""
    kind, call = answer.get("type"), str(answer.get("item_id"))
    if kind == "response.function_call_arguments.delta":
        yield ArgumentPlace(answer, "delta", call, is_piece=True)
    elif kind == "response.function_call_arguments.done":
        yield ArgumentPlace(answer, "arguments", call, is_piece=False)
    outputs = [answer.get("output"), object_of(answer.get("response")).get("output")]
    for item in (object_of(answer.get("item")), *(item for output in outputs for item in items_of(output))):
        if item.get("type") == "function_call" and item.get("arguments"):
            yield ArgumentPlace(item, "arguments", str(item.get("id")), is_piece=False)
