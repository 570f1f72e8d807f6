"""Every dialect before an engine that answers chat completions alone: another server, or llama-cpp-python."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import ollama
import pytest

from tests.dmrc_command import Dmrc, temporary_dmrc
from tests.gateway.chats_only import ChatsOnly, chats_only
from tests.gateway.strange_upstream import KEY, strange_upstream
from tests.gateway.thinking import ANSWER, ASKED, THOUGHT, TOKENS, WEATHER, thinking_dmrc
from tests.gateway.tools import TOOL
from tests.polling import eventually

if TYPE_CHECKING:
    import anthropic
    import openai

pytestmark = pytest.mark.engine

_FUNCTION = TOOL["function"]
_SCHEMA = {"type": "object", "properties": {"animal": {"type": "string", "maxLength": 12}}, "required": ["animal"]}


@dataclass
class Far:
    """A project's service whose models another server has."""

    dmrc: Dmrc
    key: str
    server: ChatsOnly | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.dmrc.port}"

    @property
    def openai(self) -> openai.OpenAI:
        import openai

        return openai.OpenAI(base_url=f"{self.url}/v1", api_key=self.key, max_retries=0)

    @property
    def anthropic(self) -> anthropic.Anthropic:
        import anthropic

        return anthropic.Anthropic(base_url=f"{self.url}/anthropic", api_key=self.key, max_retries=0)

    @property
    def ollama(self) -> ollama.Client:
        return ollama.Client(self.url, headers={"authorization": f"Bearer {self.key}"})

    def record(self, exchange_id: str) -> tuple[dict[str, object], str]:
        """Return an exchange, and how it is shown."""

        def look() -> dict[str, object] | None:
            found = json.loads(self.dmrc.ok("requests", "--json", "-n", "100"))
            return next((each for each in found if each["id"] == exchange_id), None)

        return eventually(look, "the record"), self.dmrc.ok("requests", "show", exchange_id)


def project(
    dmrc: Dmrc, directory: Path, models: dict[str, dict[str, object]], env: dict[str, str] | None = None
) -> Far:
    services = {"app": {"image": "none", "models": [*models]}}
    (directory / "compose.yaml").write_text(json.dumps({"name": "far", "services": services, "models": models}))
    printed = dmrc.ok("env", "app", "--format", "json", cwd=directory, env=env)
    return Far(dmrc, json.loads(printed)["OPENAI_API_KEY"])


@pytest.fixture(scope="module")
def far(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Far]:
    with (
        thinking_dmrc(tmp_path_factory.mktemp("thinking")) as near,
        chats_only(f"http://127.0.0.1:{near.port}") as server,
        temporary_dmrc() as dmrc,
    ):
        models = {
            name: {"model": name, "x-dmrc": {"upstream": {"url": server.url, "model": f"local/{name}"}}}
            for name in ("thinks", "calls")
        }
        found = project(dmrc, tmp_path_factory.mktemp("far"), models)
        found.server = server
        yield found


def test_anthropics_client_gets_thoughts_and_words(far: Far) -> None:
    wish = {"model": "thinks", "max_tokens": 99, "messages": ASKED, "system": "Be kind."}

    raw = far.anthropic.messages.with_raw_response.create(**wish)
    with far.anthropic.messages.stream(**wish) as stream:
        events = [(event.type, getattr(event, "index", None)) for event in stream]
        streamed = stream.get_final_message()
        exchange_id = stream.response.headers["x-dmrc-exchange-id"]

    for message in (raw.parse(), streamed):
        thought, text = message.content
        assert (thought.thinking, text.text) == (THOUGHT, ANSWER)
        assert (message.stop_reason, message.role, message.usage.output_tokens) == ("end_turn", "assistant", TOKENS)
        assert message.usage.input_tokens + message.usage.cache_read_input_tokens > 10
    blocks = [each for each in events if each[0] in ("content_block_start", "content_block_stop")]
    assert blocks == [(f"content_block_{kind}", index) for index in (0, 1) for kind in ("start", "stop")]
    assert far.server.requests[-1][1]["messages"][0] == {"role": "system", "content": "Be kind."}
    for each in (raw.headers["x-dmrc-exchange-id"], exchange_id):
        exchange, shown = far.record(each)
        assert (exchange["dialect"], exchange["engine"], exchange["status"]) == ("anthropic", "upstream", 200)
        assert (exchange["completion_tokens"], exchange["finish_reason"]) == (TOKENS, "end_turn")
        assert f"thinks\n    {THOUGHT.strip()}\n  {ANSWER}" in shown


def test_anthropics_client_gets_a_call_and_sends_its_result(far: Far) -> None:
    tools = [{"name": "get_weather", "description": "It", "input_schema": _FUNCTION["parameters"]}]
    wish = {"model": "calls", "max_tokens": 99, "tools": tools, "tool_choice": {"type": "auto"}}

    whole = far.anthropic.messages.create(**wish, messages=WEATHER)
    with far.anthropic.messages.stream(**wish, messages=WEATHER) as stream:
        streamed = stream.get_final_message()

    for message in (whole, streamed):
        thought, use = message.content
        assert (thought.type, use.type, use.name, use.input) == (
            *("thinking", "tool_use"),
            *("get_weather", {"city": "Bern"}),
        )
        assert message.stop_reason == "tool_use"
    result = {"type": "tool_result", "tool_use_id": use.id, "content": [{"type": "text", "text": "rain"}]}
    said = [block.to_dict() for block in streamed.content]
    far.anthropic.messages.create(
        **wish,
        messages=[*WEATHER, {"role": "assistant", "content": said}, {"role": "user", "content": [result]}],
    )
    _, asked = far.server.requests[-1]
    _, call, answer = asked["messages"]
    assert (asked["tool_choice"], asked["tools"][0]["function"]["parameters"]) == ("auto", _FUNCTION["parameters"])
    assert (call["reasoning_content"].strip(), call["content"]) == (thought.thinking.strip(), "")
    assert json.loads(call["tool_calls"][0]["function"]["arguments"]) == {"city": "Bern"}
    assert answer == {"role": "tool", "tool_call_id": use.id, "content": "rain"}


def test_anthropics_client_is_told_what_only_anthropic_has(far: Far) -> None:
    import anthropic

    messages = far.anthropic.messages
    wish = {"model": "thinks", "max_tokens": 9, "messages": ASKED}

    with pytest.raises(anthropic.BadRequestError, match="'web_search_20250305' is called by Anthropic itself"):
        messages.create(**wish, tools=[{"type": "web_search_20250305", "name": "web_search"}])
    with pytest.raises(anthropic.InternalServerError, match="counts no tokens") as caught:
        messages.count_tokens(model="thinks", messages=ASKED)
    assert caught.value.status_code == 501
    with pytest.raises(anthropic.BadRequestError) as refused:
        messages.create(**wish | {"messages": [{"role": "user", "content": "word " * 9000}]})
    assert "exceed" in refused.value.body["error"]["message"]


def test_openais_client_gets_a_response_item_by_item_and_goes_on(far: Far) -> None:
    responses = far.openai.responses

    raw = responses.with_raw_response.create(model="thinks", input="Hi", instructions="Be kind.")
    events = list(responses.create(model="thinks", input="Hi", stream=True))
    with responses.stream(model="thinks", input="Hi") as stream:
        accumulated = stream.until_done().get_final_response()

    for response in (raw.parse(), events[-1].response, accumulated):
        thought, message = response.output
        assert (thought.type, thought.content[0].text, message.content[0].text) == ("reasoning", THOUGHT, ANSWER)
        assert (response.status, response.usage.output_tokens) == ("completed", TOKENS)
    assert [event.sequence_number for event in events] == list(range(len(events)))
    said = {kind: [e.delta for e in events if e.type == f"response.{kind}.delta"] for kind in ("output_text",)}
    assert "".join(said["output_text"]) == ANSWER
    begun, ended = ([e.item.id for e in events if e.type == f"response.output_item.{way}"] for way in ("added", "done"))
    assert begun == ended == [item.id for item in events[-1].response.output]
    second = responses.create(model="thinks", input="And?", previous_response_id=events[-1].response.id)
    assert second.output_text == ANSWER
    assert far.server.requests[-1][1]["messages"] == [
        {"role": "user", "content": "Hi"},
        {"role": "assistant", "content": ANSWER, "reasoning_content": THOUGHT},
        {"role": "user", "content": "And?"},
    ]
    exchange, shown = far.record(raw.headers["x-dmrc-exchange-id"])
    assert (exchange["operation"], exchange["completion_tokens"]) == ("response", TOKENS)
    assert f"thinks\n    {THOUGHT.strip()}\n  {ANSWER}" in shown


def test_openais_client_gets_a_call_of_a_response_and_sends_its_result(far: Far) -> None:
    responses = far.openai.responses
    # As Codex has them: what OpenAI would call itself stands beside the functions.
    wish = {"model": "calls", "tools": [{"type": "web_search"}, {"type": "function", **_FUNCTION}]}
    wish["reasoning"] = {"effort": "none"}

    made = responses.create(**wish, input=WEATHER)
    events = list(responses.create(**wish, input=WEATHER, stream=True))

    for response in (made, events[-1].response):
        _, call = response.output
        assert (call.name, json.loads(call.arguments)) == ("get_weather", {"city": "Bern"})
    deltas = [event.delta for event in events if event.type == "response.function_call_arguments.delta"]
    assert json.loads("".join(deltas)) == {"city": "Bern"}
    result = {"type": "function_call_output", "call_id": call.call_id, "output": "rain"}
    responses.create(**wish, input=[result], previous_response_id=events[-1].response.id)
    sent = far.server.requests[-1][1]
    asked, said, answer = sent["messages"]
    assert [tool["function"]["name"] for tool in sent["tools"]] == ["get_weather"]
    assert asked == WEATHER[0]
    assert said["tool_calls"][0]["id"] == answer["tool_call_id"] == call.call_id
    assert (answer["role"], answer["content"]) == ("tool", "rain")


def test_a_response_that_is_too_long_says_so(far: Far) -> None:
    import openai

    events = list(far.openai.responses.create(model="thinks", input="Hi", max_output_tokens=3, stream=True))

    assert events[-1].type == "response.incomplete"
    assert events[-1].response.incomplete_details.reason == "max_output_tokens"
    with pytest.raises(openai.BadRequestError, match="'web_search' is called by OpenAI itself"):
        far.openai.responses.create(model="thinks", input="Hi", tools=[{"type": "web_search"}])
    with pytest.raises(openai.BadRequestError, match="'prompt' is kept by OpenAI itself"):
        far.openai.responses.create(model="thinks", input="Hi", prompt={"id": "pmpt_1"})


def test_ollamas_client_gets_its_counts_without_llama_cpps_timings(far: Far) -> None:
    whole = far.ollama.chat("thinks", ASKED)
    streamed = list(far.ollama.chat("thinks", ASKED, stream=True, options={"num_predict": 99}))
    called = far.ollama.chat("calls", WEATHER, tools=[TOOL], stream=True)

    assert (whole.message.thinking, whole.message.content) == (THOUGHT, ANSWER)
    assert "".join(part.message.content or "" for part in streamed) == ANSWER
    for last in (whole, streamed[-1]):
        assert (last.done, last.done_reason, last.eval_count) == (True, "stop", TOKENS)
        assert last.prompt_eval_count > 5
    (call,) = [call for part in called for call in part.message.tool_calls or []]
    assert call.function.arguments == {"city": "Bern"}


def test_what_a_server_has_no_route_for_is_told_with_its_path(far: Far) -> None:
    import openai

    with pytest.raises(openai.NotFoundError, match="the engine of model 'thinks' answered 404 to /v1/completions"):
        far.openai.completions.create(model="thinks", prompt="Hi")


def test_a_server_is_asked_for_chat_completions_alone(far: Far) -> None:
    far.dmrc.ok("unload", "--all")
    far.server.requests.clear()

    for _ in range(3):
        far.anthropic.messages.create(model="thinks", max_tokens=3, messages=ASKED)
        far.openai.responses.create(model="thinks", input="Hi", max_output_tokens=16)

    assert far.server.paths() == ["/v1/chat/completions"] * 6


def test_a_stream_that_breaks_off_never_says_its_end(tmp_path: Path) -> None:
    import anthropic
    import openai

    with strange_upstream() as server, temporary_dmrc() as dmrc:
        upstream = {"url": server.url("breaks"), "model": "Big", "key": "UPSTREAM_KEY"}
        far = project(dmrc, tmp_path, {"m": {"model": "m", "x-dmrc": {"upstream": upstream}}}, {"UPSTREAM_KEY": KEY})

        with (
            pytest.raises(anthropic.APIError, match="broke off"),
            far.anthropic.messages.stream(model="m", max_tokens=9, messages=ASKED) as stream,
        ):
            list(stream)
        events = []
        with pytest.raises(openai.APIError, match="broke off"):
            for event in far.openai.responses.create(model="m", input="Hi", stream=True):
                events.append(event.type)
        assert events[-1] == "response.output_text.delta"
        with pytest.raises(ollama.ResponseError, match="broke off"):
            list(far.ollama.chat("m", ASKED, stream=True))


@pytest.mark.llama_cpp_python
def test_every_client_is_answered_by_llama_cpp_python(tmp_path: Path, smollm2: Path) -> None:
    with temporary_dmrc() as dmrc:
        dmrc.ok("package", "--gguf", smollm2, "local/smol")
        model = {"model": "local/smol", "context_size": 512, "x-dmrc": {"engine": "llama-cpp-python"}}
        far = project(dmrc, tmp_path, {"m": model})
        form = {"format": {"type": "json_schema", "name": "animal", "schema": _SCHEMA}}
        tool = {"name": "name_animal", "input_schema": _SCHEMA}

        message = far.anthropic.messages.create(model="m", max_tokens=8, messages=ASKED, stop_sequences=["zebra"])
        with far.anthropic.messages.stream(
            model="m", max_tokens=60, messages=ASKED, tools=[tool], tool_choice={"type": "tool", "name": tool["name"]}
        ) as stream:
            (use,) = stream.get_final_message().content
        response = far.openai.responses.create(model="m", input="Name an animal.", text=form, max_output_tokens=60)
        generated = far.ollama.generate("m", "Say hello.", options={"num_predict": 8})

        assert (message.stop_reason, message.usage.output_tokens) == ("max_tokens", 8)
        assert (use.type, use.name, use.input.keys()) == ("tool_use", "name_animal", {"animal"})
        assert json.loads(response.output_text).keys() == {"animal"}
        assert (generated.eval_count, generated.done_reason) == (8, "length")
