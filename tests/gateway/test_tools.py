"""Tool calls by Anthropic's client, and by OpenAI's through the Responses: made, streamed, and answered."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.gateway.conftest import MODEL, Gateway
from tests.gateway.tools import CALL, END_OF_TURN, TOOL, tooled_gateway
from tests.polling import eventually

pytestmark = pytest.mark.engine

_FUNCTION = TOOL["function"]
_QUESTION = "What is the weather in Bern?"


@pytest.fixture(scope="module")
def tooled(tmp_path_factory: pytest.TempPathFactory, smollm2: Path) -> Iterator[Gateway]:
    with tooled_gateway(tmp_path_factory.mktemp("shop"), smollm2) as found:
        yield found


def shown(gateway: Gateway, exchange_id: str) -> str:
    eventually(lambda: exchange_id in gateway.dmrc.ok("requests", "--json"), "the record")
    return gateway.dmrc.ok("requests", "show", exchange_id)


def test_anthropics_client_gets_a_call_and_sends_its_result(tooled: Gateway) -> None:
    import anthropic

    client = anthropic.Anthropic(base_url=f"{tooled.url}/anthropic", api_key=tooled.keys["web"], max_retries=0)
    tools = [{"name": "get_weather", "input_schema": _FUNCTION["parameters"]}]
    # So small a model calls no tool: it is made to begin with a call, and to say no more.
    begun = [{"role": "user", "content": _QUESTION}, {"role": "assistant", "content": CALL}]
    wish = {"model": MODEL, "max_tokens": 40, "tools": tools, "stop_sequences": ["\n", " ", "."]}

    raw = client.messages.with_raw_response.create(messages=begun, **wish)
    with client.messages.stream(messages=begun, **wish) as stream:
        streamed = stream.get_final_message()

    message = raw.parse()
    (use,) = [block for block in message.content if block.type == "tool_use"]
    assert (use.name, use.input, message.stop_reason) == ("get_weather", {"city": "Bern"}, "tool_use")
    (begins,) = [block for block in streamed.content if block.type == "tool_use"]
    # Of a call that it did not write, the engine streams no arguments.
    assert (begins.name, streamed.stop_reason) == ("get_weather", "tool_use")
    assert "calls get_weather" in shown(tooled, raw.headers["x-dmrc-exchange-id"])
    result = {"type": "tool_result", "tool_use_id": use.id, "content": "rain"}
    answered = client.messages.with_raw_response.create(
        model=MODEL,
        max_tokens=8,
        tools=tools,
        messages=[begun[0], {"role": "assistant", "content": [use.to_dict()]}, {"role": "user", "content": [result]}],
    )
    assert answered.parse().content[0].type == "text"
    told = shown(tooled, answered.headers["x-dmrc-exchange-id"])
    assert "rain" in told
    assert "calls get_weather" in told


def test_openais_client_gets_a_call_of_a_response_and_sends_its_result(tooled: Gateway) -> None:
    client = tooled.client()
    tools = [{"type": "function", "strict": False, "name": "get_weather", "parameters": _FUNCTION["parameters"]}]
    said = {"type": "output_text", "text": CALL}
    begun = [{"role": "user", "content": _QUESTION}, {"type": "message", "role": "assistant", "content": [said]}]
    wish = {"model": MODEL, "input": begun, "tools": tools, "max_output_tokens": 40}
    wish["extra_body"] = {"logit_bias": END_OF_TURN}

    made = client.responses.create(**wish)
    events = list(client.responses.create(**wish, stream=True))

    (streamed,) = [item for item in events[-1].response.output if item.type == "function_call"]
    (call,) = [item for item in made.output if item.type == "function_call"]
    assert (call.name, json.loads(call.arguments)) == ("get_weather", {"city": "Bern"})
    # Of a call that it did not write, the engine streams no arguments.
    assert streamed.name == "get_weather"
    result = {"type": "function_call_output", "call_id": call.call_id, "output": "rain"}
    raw = client.responses.with_raw_response.create(
        model=MODEL, input=[result], previous_response_id=made.id, tools=tools, max_output_tokens=8
    )
    assert raw.parse().output_text
    told = shown(tooled, raw.headers["x-dmrc-exchange-id"])
    assert "rain" in told
