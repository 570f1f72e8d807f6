"""OpenAI's Responses by the official client against the real model."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest

from dmrc.dialects.dialect import Timing
from dmrc.dialects.responses.conversations import Conversations
from dmrc.dialects.responses.routes import ResponsesRoute
from dmrc.errors import NotFoundError
from dmrc.exchange import JsonValue
from dmrc.fields import JsonObject
from tests.gateway.answering import bytes_of
from tests.gateway.conftest import MODEL, Gateway

Recorded = Callable[[str], dict[str, object]]
NOTHING = {"output": []}
SCHEMA = {
    "type": "object",
    "properties": {"animal": {"type": "string", "maxLength": 12}},
    "required": ["animal"],
    "additionalProperties": False,
}


def test_a_response_is_answered_and_recorded(gateway: Gateway, recorded: Recorded) -> None:
    raw = gateway.client().responses.with_raw_response.create(
        model=MODEL, input="Tell me a story.", instructions="Be brief.", max_output_tokens=8
    )

    response = raw.parse()
    assert response.output_text
    exchange = recorded(raw.headers["x-dmrc-exchange-id"])
    assert (exchange["operation"], exchange["dialect"], exchange["status"]) == ("response", "openai", 200)
    assert response.usage is not None
    assert exchange["completion_tokens"] == response.usage.output_tokens == 8
    assert exchange["prompt_tokens"] == response.usage.input_tokens
    found = json.loads(gateway.dmrc.ok("requests", "--json", "--grep", "Tell me a story", "-n", "100"))
    assert exchange["id"] in [each["id"] for each in found]


def test_a_stream_is_told_whole_in_the_record(gateway: Gateway, recorded: Recorded) -> None:
    raw = gateway.client().responses.with_raw_response.create(
        model=MODEL, input="Tell me a story.", max_output_tokens=8, stream=True
    )

    events = list(raw.parse())

    assert [event.type for event in events][-1] == "response.incomplete", "it was cut"
    text = "".join(event.delta for event in events if event.type == "response.output_text.delta")
    exchange = recorded(raw.headers["x-dmrc-exchange-id"])
    assert exchange["stream"] is True
    assert exchange["completion_tokens"] == 8
    assert exchange["first_token_ms"] is not None
    assert text.split()[0] in gateway.dmrc.ok("requests", "show", str(exchange["id"]))


@pytest.mark.parametrize("stream", [False, True])
def test_a_response_goes_on_from_the_one_before(gateway: Gateway, stream: bool) -> None:
    client = gateway.client()
    first = client.responses.create(model=MODEL, input="My name is Ada.", max_output_tokens=8, stream=stream)
    if stream:
        first = next(event.response for event in first if event.type == "response.incomplete")

    second = client.responses.create(
        model=MODEL, input="What is my name?", previous_response_id=first.id, max_output_tokens=8
    )
    alone = client.responses.create(model=MODEL, input="What is my name?", max_output_tokens=8)

    assert second.usage is not None
    assert alone.usage is not None
    assert second.usage.input_tokens > alone.usage.input_tokens + 10, "it was told what came before"
    third = client.responses.create(model=MODEL, input="And now?", previous_response_id=second.id, max_output_tokens=2)
    assert third.usage is not None
    assert third.usage.input_tokens > second.usage.input_tokens


def test_an_answer_keeps_to_a_schema(gateway: Gateway) -> None:
    response = gateway.client().responses.create(
        model=MODEL,
        input="Name an animal.",
        text={"format": {"type": "json_schema", "name": "animal", "schema": SCHEMA}},
        max_output_tokens=60,
    )

    assert json.loads(response.output_text).keys() == {"animal"}


def test_errors_are_openais(gateway: Gateway) -> None:
    import openai

    client = gateway.client()
    with pytest.raises(openai.NotFoundError, match="'resp_none' is not remembered"):
        client.responses.create(model=MODEL, input="And?", previous_response_id="resp_none")
    with pytest.raises(openai.BadRequestError, match="'input' must be text or a list"):
        client.responses.create(model=MODEL, input=3)  # type: ignore[arg-type]
    with pytest.raises(openai.NotFoundError, match="is not in the store"):
        client.responses.create(model="local/nothing", input="Hi")
    kept = client.responses.create(model=MODEL, input="Hi", store=False, max_output_tokens=2)
    with pytest.raises(openai.NotFoundError):
        client.responses.create(model=MODEL, input="And?", previous_response_id=kept.id)


def test_the_oldest_conversations_are_forgotten_first() -> None:
    conversations = Conversations(longest=2, largest_bytes=100)
    for name in ("a", "b", "c"):
        conversations.put(name, [name], NOTHING)
    assert conversations.get("b") == ["b"]
    with pytest.raises(NotFoundError, match="'a' is not remembered"):
        conversations.get("a")

    conversations.put("d", ["long " * 15], NOTHING)

    with pytest.raises(NotFoundError, match="'c' is not remembered"):
        conversations.get("c")
    conversations.put("e", ["longer " * 19], NOTHING)
    with pytest.raises(NotFoundError, match="'e' is not remembered"):
        conversations.get("e")


def test_a_conversation_that_is_too_large_alone_costs_no_other_its_place() -> None:
    conversations = Conversations(longest=2, largest_bytes=100)
    conversations.put("small", ["small"], NOTHING)

    conversations.put("large", ["large " * 100], NOTHING)

    assert conversations.get("small") == ["small"]


CHAT: JsonObject = {
    "choices": [{"message": {"role": "assistant", "content": "hello"}, "finish_reason": "stop"}],
}


def test_no_project_goes_on_from_a_response_of_another() -> None:
    responses = ResponsesRoute()
    reply = responses.call({"input": "a secret"}, b"{}", "shop").reply
    assert reply is not None
    made = json.loads(reply.whole(CHAT, lambda: Timing(0.0, 0.0)))
    following: dict[str, JsonValue] = {"input": "go on", "previous_response_id": made["id"]}

    assert b"a secret" in responses.call(following, b"{}", "shop").body()
    for other in ("bank", None):
        with pytest.raises(NotFoundError):
            responses.call(following, b"{}", other)


def test_a_response_is_remembered_before_the_caller_has_it() -> None:
    """Who has read its last event may hang up, or go on from it at once."""
    responses = ResponsesRoute()
    reply = responses.call({"input": "Hi"}, b"{}", "shop").reply
    assert reply is not None

    told = bytes_of(
        reply,
        b'data: {"choices": [{"delta": {"content": "event: response.completed"}}]}\n\n'
        b'data: {"choices": [{"delta": {}, "finish_reason": "stop"}]}\n\n',
    )

    made = str(json.loads(told.rpartition(b"data: ")[2])["response"]["id"])
    assert responses.dialect.conversations("shop").asked(made) == [{"role": "user", "content": "Hi"}]


def test_a_response_can_be_fetched_and_forgotten_by_its_own_project_only(gateway: Gateway) -> None:
    import openai

    client = gateway.client()
    before = client.responses.create(model=MODEL, input="My name is Ada.", max_output_tokens=4)
    made = client.responses.create(model=MODEL, input="Hi", previous_response_id=before.id, max_output_tokens=4)

    assert client.responses.retrieve(made.id).output_text == made.output_text
    roles = [getattr(item, "role", None) for item in client.responses.input_items.list(made.id)]
    assert roles == ["user", "assistant", "user"]
    asked = client.responses.input_items.list(made.id).data[-1]
    assert (asked.type, asked.content[0].type, asked.content[0].text) == ("message", "input_text", "Hi")
    with pytest.raises(openai.BadRequestError, match="not streamed again"):
        client.responses.retrieve(made.id, stream=True)
    with pytest.raises(openai.NotFoundError):
        gateway.client(None).responses.retrieve(made.id)
    client.responses.delete(made.id)
    with pytest.raises(openai.NotFoundError, match="is not remembered"):
        client.responses.retrieve(made.id)
    assert client.responses.retrieve(before.id).id == before.id


@pytest.mark.parametrize("prefix", ["", "/engines", "/v1", "/engines/v1", "/engines/llama.cpp/v1"])
def test_all_of_docker_model_runners_addresses_answer(gateway: Gateway, prefix: str) -> None:
    client = gateway.client(prefix=prefix)

    made = client.responses.create(model=MODEL, input="Hi", max_output_tokens=2)

    assert client.responses.retrieve(made.id).output_text == made.output_text
