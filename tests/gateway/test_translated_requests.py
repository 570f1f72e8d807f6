"""What dialects make of a request on its way through the check of a chat completion, without an engine."""

from __future__ import annotations

import json
from typing import Any

import pytest

from dmrc.dialects.anthropic.routes import AnthropicMessages
from dmrc.dialects.chat.checks import checked
from dmrc.dialects.chat.served import Served
from dmrc.dialects.dialect import Call, Route
from dmrc.dialects.ollama.routes import OllamaChat, OllamaGenerate
from dmrc.dialects.responses.routes import ResponsesRoute
from dmrc.errors import InputError

UPSTREAM = Served("far", "upstream")
ENGINE = Served("ai/x", "llama-server", template="{{ tools }}{{ messages }}")
PARAMETERS = {"type": "object", "properties": {}}
HELLO = [{"role": "user", "content": "Hi"}]
NAMES = ("look", "find")
OF_ANTHROPIC = [{"name": name, "input_schema": PARAMETERS} for name in NAMES]
OF_RESPONSES = [{"type": "function", "name": name, "parameters": PARAMETERS} for name in NAMES]


def sent(dialect: Route, document: dict[str, Any], served: Served = UPSTREAM) -> dict[str, Any]:
    call = dialect.call(document, json.dumps(document).encode(), None)
    assert isinstance(call, Call)
    return checked(call, served).document


def message(**fields: Any) -> dict[str, Any]:
    return {"model": "m", "max_tokens": 9, "messages": HELLO, **fields}


def response(**fields: Any) -> dict[str, Any]:
    return {"model": "m", "input": "Hi", **fields}


@pytest.mark.parametrize(
    ("choice", "mode", "names"),
    [
        ({"type": "auto"}, "auto", NAMES),
        ({"type": "any"}, "required", NAMES),
        ({"type": "none"}, "none", NAMES),
        ({"type": "tool", "name": "find"}, "required", ("find",)),
    ],
)
def test_a_choice_of_anthropics_is_heeded(choice: dict[str, Any], mode: str, names: tuple[str, ...]) -> None:
    document = sent(AnthropicMessages(), message(tools=OF_ANTHROPIC, tool_choice=choice))

    assert document["tool_choice"] == mode
    assert tuple(tool["function"]["name"] for tool in document["tools"]) == names


ALLOWED = {"type": "allowed_tools", "mode": "required", "tools": [{"type": "function", "name": "find"}]}


@pytest.mark.parametrize(
    ("choice", "mode", "names"),
    [
        ("auto", "auto", NAMES),
        ("required", "required", NAMES),
        ("none", "none", NAMES),
        ({"type": "function", "name": "find"}, "required", ("find",)),
        (ALLOWED, "required", ("find",)),
        (ALLOWED | {"mode": "auto"}, "auto", ("find",)),
    ],
)
def test_a_choice_of_the_responses_is_heeded(choice: Any, mode: str, names: tuple[str, ...]) -> None:
    document = sent(ResponsesRoute(), response(tools=OF_RESPONSES, tool_choice=choice))

    assert document["tool_choice"] == mode
    assert tuple(tool["function"]["name"] for tool in document["tools"]) == names


@pytest.mark.parametrize("served", [UPSTREAM, ENGINE], ids=["upstream", "llama.cpp"])
def test_a_choice_of_what_is_not_there_is_refused(served: Served) -> None:
    for dialect, document in (
        (AnthropicMessages(), message(tools=OF_ANTHROPIC, tool_choice={"type": "tool", "name": "none"})),
        (AnthropicMessages(), message(tool_choice={"type": "any"})),
        (ResponsesRoute(), response(tools=OF_RESPONSES, tool_choice={"type": "function", "name": "none"})),
        (ResponsesRoute(), response(tool_choice="required")),
    ):
        with pytest.raises(InputError, match="tool_choice"):
            sent(dialect, document, served)


@pytest.mark.parametrize(("arguments", "meant"), [("", {}), ('{"city": "Be', {"city": "Be"})])
def test_a_call_that_was_cut_is_a_call_in_the_next_turn(arguments: str, meant: dict[str, str]) -> None:
    call = {"type": "function_call", "call_id": "1", "name": "look", "arguments": arguments}
    result = {"type": "function_call_output", "call_id": "1", "output": "rain"}

    document = sent(ResponsesRoute(), {"model": "m", "input": [*HELLO, call, result]}, ENGINE)

    _, said, told = document["messages"]
    assert json.loads(said["tool_calls"][0]["function"]["arguments"]) == meant
    assert told == {"role": "tool", "tool_call_id": "1", "content": "rain"}


def test_what_has_no_role_is_refused_in_every_dialect() -> None:
    for dialect, document in (
        (AnthropicMessages(), message(messages=[{"content": "Hi"}])),
        (ResponsesRoute(), {"model": "m", "input": [{"type": "message", "content": "Hi"}]}),
        (OllamaChat(), {"model": "m", "messages": [{"content": "Hi"}]}),
    ):
        with pytest.raises(InputError):
            sent(dialect, document)


def test_a_null_description_of_a_tool_is_left_out() -> None:
    tools = [{**OF_RESPONSES[0], "description": None}]

    (tool,) = sent(ResponsesRoute(), response(tools=tools), ENGINE)["tools"]

    assert "description" not in tool["function"]


def test_a_picture_that_a_tool_shows_comes_after_its_words() -> None:
    shown = [
        {"type": "input_text", "text": "a cat"},
        {"type": "input_image", "image_url": "data:image/png;base64,eA=="},
    ]
    result = {"type": "function_call_output", "call_id": "1", "output": shown}
    file = {"type": "input_file", "filename": "a.txt", "file_data": "data:text/plain;base64,d2hhbGVz"}

    document = sent(ResponsesRoute(), {"model": "m", "input": [result, {"role": "user", "content": [file]}]})

    tool, picture, text = document["messages"]
    assert tool["content"] == "a cat"
    assert picture["content"] == [{"type": "image_url", "image_url": {"url": shown[1]["image_url"]}}]
    assert text["content"] == "a.txt\nwhales"


def test_only_llama_cpps_server_is_asked_for_what_only_it_has() -> None:
    document = message(stop_sequences=["x"], thinking={"type": "enabled", "budget_tokens": 5})
    document["output_config"] = {"effort": "max"}

    call = AnthropicMessages().call(document, b"", None)

    assert call.of_llama_cpp == {
        "thinking_budget_tokens": 5,
        "reasoning_effort": "high",
        "verbose": True,
        "response_fields": ["stopping_word"],
    }
    assert not call.document.keys() & call.of_llama_cpp.keys()


@pytest.mark.parametrize("plain", [{"raw": True}, {"suffix": "end"}])
@pytest.mark.parametrize(("name", "value"), [("system", "x"), ("context", [1]), ("images", ["x"])])
def test_what_a_prompt_without_a_template_has_no_place_for_is_refused(
    plain: dict[str, Any], name: str, value: Any
) -> None:
    """Pictures were left out without a word."""
    with pytest.raises(InputError, match=f"'{name}' has no place beside"):
        sent(OllamaGenerate(), {"model": "m", "prompt": "begin", name: value, **plain})
