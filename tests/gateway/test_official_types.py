"""Answers as the official clients' own types have them: with every field that one of them says is always there.

The clients themselves check nothing, so what is missing breaks the frameworks that stand on them.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import httpx
import ollama
import pydantic
import pytest

from tests.gateway.test_dialects import FUNCTION, Served, both, served
from tests.gateway.thinking import WEATHER

__all__ = ["both", "served"]
pytestmark = pytest.mark.engine

_TOOL = {"name": FUNCTION["name"], "input_schema": FUNCTION["parameters"]}
_WISHES = {
    "/v1/responses": {"input": WEATHER, "tools": [{"type": "function", **FUNCTION}], "max_output_tokens": 80},
    "/v1/chat/completions": {
        "messages": WEATHER,
        "tools": [{"type": "function", "function": FUNCTION}],
        "max_tokens": 80,
    },
    "/anthropic/v1/messages": {"messages": WEATHER, "tools": [_TOOL], "max_tokens": 80},
}


def types_of(path: str) -> tuple[Any, Any]:
    """Return the type of a whole answer, and of an event of a streamed one."""
    import anthropic.types.beta
    import openai.types.chat
    import openai.types.responses

    return {
        "/v1/responses": (openai.types.responses.Response, openai.types.responses.ResponseStreamEvent),
        "/v1/chat/completions": (openai.types.chat.ChatCompletion, openai.types.chat.ChatCompletionChunk),
        "/anthropic/v1/messages": (anthropic.types.beta.BetaMessage, anthropic.types.RawMessageStreamEvent),
    }[path]


def checked(kind: Any, document: object) -> Any:
    return pydantic.TypeAdapter(kind).validate_python(document)


def events(body: str) -> Iterator[object]:
    for line in body.splitlines():
        if line.startswith("data: {"):
            yield json.loads(line.removeprefix("data: "))


@pytest.mark.parametrize("model", ["thinks", "calls"])
@pytest.mark.parametrize("path", _WISHES)
def test_an_answer_and_its_events_are_complete(served: Served, path: str, model: str) -> None:
    whole, event = types_of(path)
    wish = {**_WISHES[path], "model": f"{served.prefix}{model}"}
    if model == "thinks":
        wish = {name: value for name, value in wish.items() if name != "tools"}

    checked(whole, served.post(path, wish).json())

    streamed = [checked(event, one) for one in events(served.post(path, {**wish, "stream": True}).text)]
    assert len(streamed) > 3


def test_lists_are_complete(served: Served) -> None:
    import anthropic.types
    import openai.types.responses

    headers = {"authorization": f"Bearer {served.key}"}

    def get(path: str) -> Any:
        return httpx.get(f"{served.url}{path}", headers=headers, timeout=60).json()

    call = {"type": "function_call", "call_id": "1", "name": "look", "arguments": "{}"}
    result = {"type": "function_call_output", "call_id": "1", "output": "rain"}
    made = served.openai.responses.create(model=served.thinks, input=[{"role": "user", "content": "Hi"}, call, result])

    found = checked(openai.types.responses.ResponseItemList, get(f"/v1/responses/{made.id}/input_items"))
    assert [one.type for one in found.data] == ["message", "function_call", "function_call_output"]
    assert (found.first_id, found.last_id) == (found.data[0].id, found.data[-1].id)
    assert checked(list[openai.types.Model], get("/v1/models")["data"])
    assert checked(list[anthropic.types.ModelInfo], get("/anthropic/v1/models")["data"])
    checked(ollama.ListResponse, get("/api/tags"))
    checked(ollama.ProcessResponse, get("/api/ps"))
