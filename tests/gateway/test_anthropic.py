"""Anthropic's official client against the real model, and what is recorded of it."""

from __future__ import annotations

import json
import signal
from collections.abc import Callable
from typing import TYPE_CHECKING, Literal

import pydantic
import pytest

from tests.gateway.conftest import MODEL, Gateway
from tests.gateway.test_faults import children
from tests.polling import eventually

if TYPE_CHECKING:
    import anthropic

Recorded = Callable[[str], dict[str, object]]
QUESTION: list[anthropic.types.MessageParam] = [{"role": "user", "content": "Tell me a story."}]
LONG: list[anthropic.types.MessageParam] = [{"role": "user", "content": "word " * 900}]


def client(gateway: Gateway, prefix: str = "/anthropic", service: str = "web") -> anthropic.Anthropic:
    import anthropic

    return anthropic.Anthropic(
        base_url=f"{gateway.url}{prefix}", api_key=gateway.keys[service], max_retries=0, timeout=60
    )


@pytest.mark.parametrize("prefix", ["/anthropic", "", "/engines"])
def test_a_message_is_answered_and_recorded(gateway: Gateway, recorded: Recorded, prefix: str) -> None:
    raw = client(gateway, prefix).messages.with_raw_response.create(
        model=MODEL, max_tokens=8, system="Be brief.", messages=QUESTION
    )

    message = raw.parse()
    assert (message.type, message.role, message.stop_reason) == ("message", "assistant", "max_tokens")
    assert message.content[0].type == "text"
    assert message.model.endswith(MODEL), "no path of this machine"
    assert message._request_id == raw.headers["x-dmrc-exchange-id"]
    exchange = recorded(raw.headers["x-dmrc-exchange-id"])
    assert (exchange["dialect"], exchange["service"], exchange["status"]) == ("anthropic", "web", 200)
    assert exchange["completion_tokens"] == 8
    assert exchange["prompt_tokens"] == message.usage.input_tokens + (message.usage.cache_read_input_tokens or 0)
    assert exchange["finish_reason"] == "max_tokens"


def test_a_stream_is_told_whole_in_the_record(gateway: Gateway, recorded: Recorded) -> None:
    with client(gateway).messages.stream(model=MODEL, max_tokens=8, messages=QUESTION) as stream:
        text = "".join(stream.text_stream)
        message = stream.get_final_message()
        exchange_id = stream.response.headers["x-dmrc-exchange-id"]

    assert message.content[0].type == "text"
    assert message.content[0].text == text != ""
    assert message.usage.output_tokens == 8
    exchange = recorded(exchange_id)
    assert exchange["stream"] is True
    assert exchange["completion_tokens"] == 8
    assert exchange["first_token_ms"] is not None
    shown = gateway.dmrc.ok("requests", "show", exchange_id)
    assert "Tell me a story." in shown
    assert text.split()[0] in shown


class _Animal(pydantic.BaseModel):
    kind: Literal["cat", "dog"]


def test_an_answer_keeps_to_a_schema_whole_streamed_and_parsed(gateway: Gateway, recorded: Recorded) -> None:
    schema = {"type": "object", "properties": {"age": {"type": "integer", "maximum": 99}}, "required": ["age"]}
    wish = {"model": MODEL, "max_tokens": 60, "messages": QUESTION}
    form = {"format": {"type": "json_schema", "schema": schema}}

    raw = client(gateway).messages.with_raw_response.create(**wish, output_config=form)
    with client(gateway).messages.stream(**wish, output_config=form) as stream:
        streamed = stream.get_final_message()
    parsed = client(gateway).messages.parse(**wish, output_format=_Animal)

    for message in (raw.parse(), streamed):
        assert json.loads(message.content[0].text).keys() == {"age"}
        assert message.stop_reason == "end_turn"
    assert parsed.parsed_output.kind in ("cat", "dog")
    exchange = recorded(raw.headers["x-dmrc-exchange-id"])
    assert (exchange["dialect"], exchange["completion_tokens"]) == ("anthropic", raw.parse().usage.output_tokens)


def test_tokens_are_counted_without_an_answer(gateway: Gateway, recorded: Recorded) -> None:
    raw = client(gateway).messages.with_raw_response.count_tokens(model=MODEL, messages=QUESTION)

    counted = raw.parse()
    answered = client(gateway).messages.create(model=MODEL, max_tokens=1, messages=QUESTION)
    assert counted.input_tokens == answered.usage.input_tokens + (answered.usage.cache_read_input_tokens or 0)
    exchange = recorded(raw.headers["x-dmrc-exchange-id"])
    assert (exchange["operation"], exchange["prompt_tokens"]) == ("count_tokens", counted.input_tokens)


def test_errors_are_anthropics(gateway: Gateway) -> None:
    import anthropic

    with pytest.raises(anthropic.NotFoundError) as missing:
        client(gateway).messages.create(model="local/nothing", max_tokens=1, messages=QUESTION)
    with pytest.raises(anthropic.BadRequestError) as malformed:
        client(gateway).messages.create(model=MODEL, max_tokens=1, messages=3)  # type: ignore[arg-type]
    with pytest.raises(anthropic.BadRequestError) as too_long:
        client(gateway).messages.create(model=MODEL, max_tokens=1, messages=LONG)
    stranger = anthropic.Anthropic(base_url=gateway.url, api_key="sk-dmrc-unknown", max_retries=0)
    with pytest.raises(anthropic.AuthenticationError) as unknown:
        stranger.messages.create(model=MODEL, max_tokens=1, messages=QUESTION)

    found = [each.value.body for each in (missing, malformed, too_long, unknown)]
    assert all(isinstance(body, dict) and body["type"] == "error" for body in found)
    types = [body["error"]["type"] for body in found if isinstance(body, dict)]
    assert types == ["not_found_error", "invalid_request_error", "invalid_request_error", "authentication_error"]


def test_the_first_event_of_a_stream_tells_the_tokens_of_the_prompt(gateway: Gateway, recorded: Recorded) -> None:
    """LangChain.js reads them there and nowhere else."""
    wish = {"model": MODEL, "max_tokens": 8, "messages": QUESTION}
    raw = client(gateway).messages.with_raw_response.create(**wish, stream=True)
    first, *_, delta, _last = list(raw.parse())

    begun, ended = first.message.usage, delta.usage
    told = (begun.input_tokens, begun.cache_read_input_tokens)
    assert told == (ended.input_tokens, ended.cache_read_input_tokens)
    assert sum(told) > 20
    assert (begun.output_tokens, ended.output_tokens) == (0, 8)
    record = recorded(raw.headers["x-dmrc-exchange-id"])
    assert (record["prompt_tokens"], record["cached_tokens"], record["completion_tokens"]) == (sum(told), told[1], 8)


def test_a_thread_goes_on_without_one(gateway: Gateway) -> None:
    """Anthropic's client asks the server to keep a conversation, in its tool runners always; and does without."""
    import anthropic

    wish = {"model": MODEL, "max_tokens": 4}
    thread = client(gateway).beta.messages.thread(**wish, unsupported_request_behavior="continue_unthreaded")

    answers = [thread.send({"role": "user", "content": "Hi"}) for _ in range(2)]

    assert all(answer.content[0].text for answer in answers)
    assert len(thread.messages) == 4
    with pytest.raises(anthropic.BadRequestError, match="keeps no 'thread'"):
        client(gateway).beta.messages.create(**wish, messages=QUESTION, thread={"type": "create"})


def test_a_stream_whose_engine_dies_ends_with_an_error(gateway: Gateway) -> None:
    import anthropic

    long = {"model": MODEL, "max_tokens": 450, "messages": QUESTION, "extra_body": {"ignore_eos": True}}
    types = []

    def read() -> None:
        for event in client(gateway).messages.create(**long, stream=True):
            types.append(event.type)
            if event.type == "content_block_delta" and types.count(event.type) == 1:
                for child in children(gateway):
                    child.send_signal(signal.SIGKILL)

    with pytest.raises(anthropic.APIStatusError, match="broke off"):
        read()
    assert "message_stop" not in types
    eventually(lambda: _answers(gateway), "the next one is answered")


def _answers(gateway: Gateway) -> bool:
    import anthropic

    try:
        client(gateway).messages.create(model=MODEL, max_tokens=1, messages=QUESTION)
    except anthropic.InternalServerError:
        return False  # it backs off
    return True
