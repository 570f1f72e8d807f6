"""Thoughts, and a call of a tool after them, in every dialect: the real engine with a model that says a script."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import TYPE_CHECKING

import ollama
import pytest

from tests.dmrc_command import Dmrc
from tests.gateway.thinking import ANSWER, ASKED, THOUGHT, TOKENS, TOKENS_OF_ANSWER, WEATHER, thinking_dmrc
from tests.gateway.tools import TOOL
from tests.polling import eventually

if TYPE_CHECKING:
    import anthropic
    import openai

pytestmark = pytest.mark.engine


@pytest.fixture(scope="module")
def thinker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Dmrc]:
    with thinking_dmrc(tmp_path_factory.mktemp("thinking")) as dmrc:
        yield dmrc


def openai_client(dmrc: Dmrc) -> openai.OpenAI:
    import openai

    return openai.OpenAI(base_url=f"http://127.0.0.1:{dmrc.port}/v1", api_key="none", max_retries=0)


def anthropic_client(dmrc: Dmrc) -> anthropic.Anthropic:
    import anthropic

    return anthropic.Anthropic(base_url=f"http://127.0.0.1:{dmrc.port}/anthropic", api_key="none", max_retries=0)


def ollama_client(dmrc: Dmrc) -> ollama.Client:
    return ollama.Client(f"http://127.0.0.1:{dmrc.port}")


def shown(dmrc: Dmrc, exchange_id: str) -> str:
    eventually(lambda: exchange_id in dmrc.ok("requests", "--json"), "the record")
    return dmrc.ok("requests", "show", exchange_id)


def test_openais_client_gets_thoughts_beside_the_answer(thinker: Dmrc) -> None:
    client = openai_client(thinker).chat.completions

    raw = client.with_raw_response.create(model="local/thinks", messages=ASKED)
    chunks = list(
        client.create(model="local/thinks", messages=ASKED, stream=True, stream_options={"include_usage": True})
    )

    whole = raw.parse()
    message = whole.choices[0].message.model_dump()
    assert (message["reasoning_content"], message["content"]) == (THOUGHT, ANSWER)
    deltas = [chunk.choices[0].delta.model_dump() for chunk in chunks if chunk.choices]
    assert "".join(delta.get("reasoning_content") or "" for delta in deltas) == THOUGHT
    assert "".join(delta["content"] or "" for delta in deltas) == ANSWER
    assert whole.usage.completion_tokens == chunks[-1].usage.completion_tokens == TOKENS
    told = shown(thinker, raw.headers["x-dmrc-exchange-id"])
    assert "assistant\n  thinks\n    A greeting; I greet back.\n  Hello to you." in told
    assert f"{TOKENS} tokens" in told


def test_anthropics_client_gets_blocks_one_after_another(thinker: Dmrc) -> None:
    client = anthropic_client(thinker).messages
    wish = {"model": "local/thinks", "max_tokens": 99, "messages": ASKED}

    whole = client.create(**wish)
    with client.stream(**wish) as stream:
        events = [(event.type, getattr(event, "index", None)) for event in stream]
        streamed = stream.get_final_message()
        exchange_id = stream.response.headers["x-dmrc-exchange-id"]
    without = client.create(**wish, thinking={"type": "disabled"})

    for message in (whole, streamed):
        thought, text = message.content
        assert (thought.thinking, thought.signature, text.text) == (THOUGHT, "", ANSWER)
        assert message.usage.output_tokens == TOKENS
    blocks = [each for each in events if each[0] in ("content_block_start", "content_block_stop")]
    assert blocks == [(f"content_block_{kind}", index) for index in (0, 1) for kind in ("start", "stop")]
    assert [block.type for block in without.content] == ["text"]
    assert without.usage.output_tokens == TOKENS_OF_ANSWER
    assert "thinks\n    A greeting; I greet back.\n" in shown(thinker, exchange_id)


def test_a_budget_of_thoughts_is_kept(thinker: Dmrc) -> None:
    limited = {"type": "enabled", "budget_tokens": 2}

    message = anthropic_client(thinker).messages.create(
        model="local/thinks", max_tokens=99, messages=ASKED, thinking=limited
    )

    assert [block.thinking for block in message.content if block.type == "thinking"] == ["A greeting; I"]


def test_a_response_has_its_thoughts_as_an_item(thinker: Dmrc) -> None:
    client = openai_client(thinker).responses

    raw = client.with_raw_response.create(model="local/thinks", input="Hi")
    events = list(client.create(model="local/thinks", input="Hi", stream=True))
    without = client.create(model="local/thinks", input="Hi", reasoning={"effort": "none"})

    whole = raw.parse()
    for response in (whole, events[-1].response):
        thought, message = response.output
        assert (thought.type, thought.content[0].text, message.content[0].text) == ("reasoning", THOUGHT, ANSWER)
        assert response.usage.output_tokens == TOKENS
    deltas = [event.delta for event in events if event.type == "response.reasoning_text.delta"]
    assert "".join(deltas) == THOUGHT
    assert [item.type for item in without.output] == ["message"]
    assert "thinks\n    A greeting; I greet back.\n" in shown(thinker, raw.headers["x-dmrc-exchange-id"])


@pytest.mark.parametrize(("think", "expected"), [(True, THOUGHT), ("low", THOUGHT), (None, THOUGHT), (False, None)])
def test_ollamas_client_decides_whether_it_thinks(thinker: Dmrc, think: bool | None, expected: str | None) -> None:
    client = ollama_client(thinker)

    whole = client.chat("local/thinks", ASKED, think=think)
    streamed = list(client.chat("local/thinks", ASKED, think=think, stream=True))
    generated = client.generate("local/thinks", "Hi", think=think)

    assert (whole.message.thinking, whole.message.content) == (expected, ANSWER)
    assert "".join(part.message.thinking or "" for part in streamed) == (expected or "")
    assert "".join(part.message.content or "" for part in streamed) == ANSWER
    assert (generated.thinking, generated.response) == (expected, ANSWER)
    assert whole.eval_count == streamed[-1].eval_count == (TOKENS if expected else TOKENS_OF_ANSWER)
    assert "thinking" in client.show("local/thinks").capabilities


def test_run_prints_thoughts_where_they_are_in_nobodys_way(thinker: Dmrc) -> None:
    piped = thinker.run("run", "local/thinks", "Hi")
    document = json.loads(thinker.ok("run", "--json", "local/thinks", "Hi"))

    assert (piped.stdout, piped.stderr.strip()) == (f"{ANSWER}\n", THOUGHT.strip())
    assert (document["content"], document["reasoning"]) == (ANSWER, THOUGHT)
    assert document["usage"]["completion_tokens"] == TOKENS


def test_configure_limits_what_it_may_think(thinker: Dmrc) -> None:
    client = openai_client(thinker).chat.completions

    thinker.ok("configure", "local/thinks", "--no-think")
    none = client.create(model="local/thinks", messages=ASKED).choices[0].message.model_dump()
    thinker.ok("configure", "local/thinks", "--", "--reasoning-budget", "2")
    short = client.create(model="local/thinks", messages=ASKED).choices[0].message.model_dump()
    thinker.ok("configure", "rm", "local/thinks")

    assert (none.get("reasoning_content"), none["content"]) == (None, ANSWER)
    assert (short["reasoning_content"], short["content"]) == ("A greeting; I", ANSWER)


def test_a_call_after_thoughts_is_streamed_with_its_arguments(thinker: Dmrc) -> None:
    wish = {"model": "local/calls", "messages": WEATHER}
    tool = {"name": "get_weather", "input_schema": TOOL["function"]["parameters"]}

    chunks = list(openai_client(thinker).chat.completions.create(**wish, tools=[TOOL], stream=True))
    with anthropic_client(thinker).messages.stream(**wish, tools=[tool], max_tokens=99) as stream:
        events = [(event.type, getattr(event, "index", None)) for event in stream]
        message = stream.get_final_message()
    asked = ollama_client(thinker).chat("local/calls", WEATHER, tools=[TOOL]).message

    deltas = [chunk.choices[0].delta for chunk in chunks if chunk.choices]
    calls = [call for delta in deltas for call in delta.tool_calls or []]
    assert calls[0].function.name == "get_weather"
    assert json.loads("".join(call.function.arguments or "" for call in calls)) == {"city": "Bern"}
    assert chunks[-1].choices[0].finish_reason == "tool_calls"
    thought, use = message.content
    assert (thought.type, use.type, use.input, message.stop_reason) == (
        "thinking",
        "tool_use",
        {"city": "Bern"},
        "tool_use",
    )
    blocks = [each for each in events if each[0] in ("content_block_start", "content_block_stop")]
    assert blocks == [(f"content_block_{kind}", index) for index in (0, 1) for kind in ("start", "stop")]
    assert asked.thinking.startswith("I must look")
    assert asked.tool_calls[0].function.arguments == {"city": "Bern"}


def test_run_and_list_ask_another_server(thinker: Dmrc, dmrc: Dmrc) -> None:
    url = f"http://127.0.0.1:{thinker.port}/v1/"
    bad_key = {"OPENAI_API_KEY": "sk-dmrc-nobodys"}

    said = dmrc.run("run", "--openaiurl", url, "local/thinks", "Hi")
    listed = dmrc.ok("list", "--openaiurl", url, "*thinks*")
    refused = dmrc.run("run", "--openaiurl", url, "local/thinks", "Hi", env=bad_key)
    away = dmrc.run("list", "--openaiurl", "http://127.0.0.1:9/v1")

    assert (said.stdout, said.stderr.strip()) == (f"{ANSWER}\n", THOUGHT.strip())
    assert listed.split() == ["MODEL", "NAME", "docker.io/local/thinks:latest"]
    assert (refused.returncode, "key" in refused.stderr) == (5, True)
    assert (away.returncode, away.stderr.count("\n")) == (5, 1)
    assert "'http://127.0.0.1:9/v1' does not answer" in away.stderr
    assert dmrc.run("run", "--openaiurl", url, "--detach", "local/thinks").returncode == 2
    assert dmrc.processes() == []
