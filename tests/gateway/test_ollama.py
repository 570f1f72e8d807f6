"""Ollama's inference routes, through Ollama's own client, on the real engine."""

from __future__ import annotations

import http.client
import json
import signal
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import ollama
import pytest

from tests.gateway.conftest import MODEL, Gateway
from tests.gateway.tools import CALL, TEMPLATE, TOOL
from tests.polling import eventually
from tests.processes import engines_of

HELLO = [{"role": "user", "content": "Say hello."}]
GREEDY = {"temperature": 0, "num_predict": 12}
SCHEMA = {
    "type": "object",
    "properties": {"animal": {"type": "string", "maxLength": 12}},
    "required": ["animal"],
    "additionalProperties": False,
}


def client_of(gateway: Gateway, service: str | None = "web") -> ollama.Client:
    headers = {"authorization": f"Bearer {gateway.keys[service]}"} if service else {}
    return ollama.Client(host=gateway.url, headers=headers, timeout=60)


@pytest.fixture(scope="module")
def client(gateway: Gateway) -> ollama.Client:
    return client_of(gateway)


def runners(gateway: Gateway) -> list[dict[str, object]]:
    return json.loads(gateway.dmrc.ok("ps", "--json"))


def latest(gateway: Gateway, words: str) -> dict[str, object]:
    """The record that `dmrc requests --grep` finds."""

    def look() -> dict[str, object] | None:
        found = json.loads(gateway.dmrc.ok("requests", "--json", "--grep", words))
        return found[-1] if found else None

    return eventually(look, f"a request with '{words}'")


def test_chat_whole_and_streamed_say_the_same_and_count_alike(client: ollama.Client) -> None:
    whole = client.chat(MODEL, HELLO, options=GREEDY)
    pieces = list(client.chat(MODEL, HELLO, options=GREEDY, stream=True))

    assert whole.message.role == "assistant"
    assert whole.message.content == "".join(piece.message.content or "" for piece in pieces)
    assert len(pieces) > 3
    assert [piece.done for piece in pieces] == [*[False] * (len(pieces) - 1), True]
    for last in (whole, pieces[-1]):
        assert (last.model, last.done, last.done_reason) == (MODEL, True, "length")
        assert last.eval_count == 12
        assert last.prompt_eval_count == whole.prompt_eval_count > 5
        assert last.total_duration > last.eval_duration + last.prompt_eval_duration > 1_000_000
        assert last.load_duration is not None
        assert last.created_at.endswith("Z")


def test_a_stream_is_what_a_request_gets_that_does_not_say(gateway: Gateway) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", gateway.dmrc.port, timeout=60)
    connection.request("POST", "/api/chat", json.dumps({"model": MODEL, "messages": HELLO, "options": GREEDY}))
    answer = connection.getresponse()
    lines = [json.loads(line) for line in answer.read().splitlines()]
    connection.close()

    assert answer.headers["content-type"] == "application/x-ndjson"
    assert lines[-1]["done"] is True


def test_generate_with_a_system_prompt_raw_and_streamed(client: ollama.Client) -> None:
    told = client.generate(MODEL, "What do you say?", system="You only say quack.", options=GREEDY)
    raw = client.generate(MODEL, "One, two, three,", raw=True, options=GREEDY | {"stop": ["6", "six"]})
    pieces = list(client.generate(MODEL, "What do you say?", stream=True, options=GREEDY))

    assert told.response
    assert raw.prompt_eval_count < 12
    assert raw.response.lstrip().startswith(("four", "4"))
    assert "".join(piece.response for piece in pieces)
    assert pieces[-1].done is True


def test_what_a_request_cannot_change_is_refused_with_a_reason(client: ollama.Client) -> None:
    with pytest.raises(ollama.ResponseError, match="dmrc package --chat-template") as refused:
        client.generate(MODEL, "Hi", template="{{ .Prompt }}")
    with pytest.raises(ollama.ResponseError) as suffix:
        client.generate(MODEL, "def f(", suffix="return x")

    assert refused.value.status_code == 400
    assert "infill" in suffix.value.error.lower()


def test_options_of_a_load_are_named_in_the_record(
    gateway: Gateway, recorded: Callable[[str], dict[str, object]]
) -> None:
    """Clients send `num_ctx` with each request, and were not told that it has no effect."""
    request = {"model": MODEL, "prompt": "Hi", "options": {"num_ctx": 64, "num_predict": 2}, "stream": False}

    answer = httpx.post(f"{gateway.url}/api/generate", json=request, timeout=60)

    assert answer.headers["x-dmrc-left-out"] == "options.num_ctx"
    assert recorded(answer.headers["x-dmrc-exchange-id"])["annotations"] == {"left_out": "options.num_ctx"}


def test_a_schema_and_json_are_obeyed(client: ollama.Client) -> None:
    asked = [{"role": "user", "content": "Name an animal as JSON."}]

    by_schema = client.chat(MODEL, asked, format=SCHEMA, options={"num_predict": 60, "temperature": 0})
    raw = client.generate(MODEL, "An animal:", raw=True, format=SCHEMA, options={"num_predict": 60, "temperature": 0})

    assert list(json.loads(by_schema.message.content)) == ["animal"]
    assert list(json.loads(raw.response)) == ["animal"]
    assert client.chat(MODEL, asked, format="json", options=GREEDY).message.content.lstrip().startswith("{")


def test_embed_one_many_short_and_the_older_route(client: ollama.Client) -> None:
    many = client.embed("embed", ["a whale", "a ship"])
    one = client.embed("embed", "a whale")
    short = client.embed("embed", "a whale", dimensions=8)
    older = client.embeddings("embed", "a whale")

    assert len(many.embeddings) == 2
    assert many.prompt_eval_count > 2
    assert many.total_duration > 0
    assert one.embeddings[0] == pytest.approx(many.embeddings[0], abs=0.01)
    assert len(short.embeddings[0]) == 8
    assert sum(value * value for value in short.embeddings[0]) == pytest.approx(1)
    assert list(older.embedding) == pytest.approx(one.embeddings[0], abs=0.01)
    assert client.embed("embed", "").embeddings == []


def test_errors_have_ollamas_shape_and_statuses(client: ollama.Client, gateway: Gateway) -> None:
    bad: list[dict[str, object]] = [
        {"messages": "hello"},
        {"messages": [{"content": "no role"}]},
        {"messages": HELLO, "format": "xml"},
        {"messages": HELLO, "options": {"temperature": "hot"}},
        {"messages": HELLO, "think": "a lot"},
        {"messages": HELLO, "keep_alive": "soon"},
    ]

    for method in (client.chat, client.generate, client.embed, client.embeddings, client.show):
        with pytest.raises(ollama.ResponseError, match=r"service 'web' .* does not declare it") as refused:
            method("ai/unknown")
        assert refused.value.status_code == 404
    with pytest.raises(ollama.ResponseError, match="dmrc pull ai/unknown") as unknown:
        client_of(gateway, None).chat("ai/unknown", HELLO)
    assert unknown.value.status_code == 404
    for document in bad:
        connection = http.client.HTTPConnection("127.0.0.1", gateway.dmrc.port, timeout=60)
        connection.request("POST", "/api/chat", json.dumps({"model": MODEL, **document}))
        answer = connection.getresponse()
        assert (answer.status, type(json.loads(answer.read())["error"])) == (400, str), document
        connection.close()


def test_a_prompt_that_does_not_fit_says_so(client: ollama.Client) -> None:
    with pytest.raises(ollama.ResponseError, match="context") as refused:
        client.chat(MODEL, [{"role": "user", "content": "whale " * 2000}])

    assert refused.value.status_code == 400


def test_a_runner_killed_in_mid_stream_ends_it_with_an_error_line_and_never_with_done(
    gateway: Gateway, client: ollama.Client
) -> None:
    asked = [{"role": "user", "content": "Tell a very long story about a narwhal."}]
    pieces = []

    def tell() -> None:
        for piece in client.chat(MODEL, asked, stream=True, options={**GREEDY, "num_predict": 450}):
            pieces.append(piece)
            if len(pieces) == 1:
                for child in engines_of(gateway.dmrc.daemon()):
                    child.send_signal(signal.SIGKILL)

    with pytest.raises(ollama.ResponseError, match="broke off"):
        tell()

    assert pieces
    assert not any(piece.done for piece in pieces)
    record = latest(gateway, "narwhal")
    assert (record["status"], record["error_type"]) == (200, "server_error")
    eventually(lambda: _answers(client))


def _answers(client: ollama.Client) -> bool:
    """Whether the model answers; it may still back off after the crash."""
    try:
        return bool(client.chat(MODEL, HELLO, options={"num_predict": 1}).done)
    except ollama.ResponseError:
        return False


def test_requests_are_recorded_with_their_words_and_found_by_those_of_the_answer(
    gateway: Gateway, client: ollama.Client
) -> None:
    asked = [{"role": "user", "content": "What is a xylophone?"}]
    pieces = list(client.chat(MODEL, asked, stream=True, options=GREEDY))
    client.generate(MODEL, "What is a zeppelin?", options=GREEDY)

    chat, generated = latest(gateway, "xylophone"), latest(gateway, "zeppelin")
    word = max("".join(piece.message.content or "" for piece in pieces).split(), key=len).strip(".,")

    assert (chat["dialect"], chat["operation"], chat["stream"]) == ("ollama", "chat", True)
    assert (generated["dialect"], generated["operation"], generated["stream"]) == ("ollama", "completion", False)
    for record in (chat, generated):
        assert (record["project"], record["service"], record["model_key"]) == ("shop", "web", "chat")
        assert (record["completion_tokens"], record["finish_reason"]) == (12, "length")
        assert record["prompt_tokens"] > 5
        assert record["cached_tokens"] is not None
        assert 0 < record["first_token_ms"] <= record["total_ms"]
    found = json.loads(gateway.dmrc.ok("requests", "--json", "--grep", word))
    assert chat["id"] in [each["id"] for each in found]
    assert "xylophone" in gateway.dmrc.ok("requests", "show", str(chat["id"]))


def test_options_leave_the_configuration_as_it_is(gateway: Gateway, client: ollama.Client) -> None:
    before, running = gateway.dmrc.ok("configure", "show", "--json"), client.ps().models

    client.chat(MODEL, HELLO, options=GREEDY | {"num_ctx": 64, "num_gpu": 1, "num_thread": 1}, keep_alive="7m")

    assert gateway.dmrc.ok("configure", "show", "--json") == before
    assert [(each.digest, each.context_length) for each in client.ps().models] == [
        (each.digest, each.context_length) for each in running
    ]


def test_an_empty_prompt_loads_and_keep_alive_pins_and_unloads(gateway: Gateway) -> None:
    client = client_of(gateway)

    loaded = client.generate(MODEL, keep_alive=-1)

    assert (loaded.done, loaded.done_reason, loaded.response) == (True, "load", "")
    (pinned,) = [each for each in runners(gateway) if each["mode"] == "completion"]
    assert pinned["keep_alive_seconds"] == -1
    (shown,) = [each for each in client.ps().models if each.context_length == 512]
    assert shown.expires_at.year > 2100

    unloaded = client.chat(MODEL, keep_alive=0)

    assert (unloaded.done, unloaded.done_reason) == (True, "unload")
    assert not [each for each in runners(gateway) if each["mode"] == "completion"]
    client.chat(MODEL, HELLO, options=GREEDY, keep_alive=0)
    eventually(lambda: not [each for each in runners(gateway) if each["mode"] == "completion"], "end of the runner")


def test_tools_are_called_with_arguments_and_take_their_results(
    gateway: Gateway, smollm2: Path, tmp_path: Path
) -> None:
    (tmp_path / "tools.jinja").write_text(TEMPLATE)
    gateway.dmrc.ok(
        *("package", "--gguf", smollm2, "--chat-template", tmp_path / "tools.jinja", "--context-size", "1024"),
        "local/tools",
    )
    client = client_of(gateway, None)
    asked = [{"role": "user", "content": "What is the weather in Bern?"}, {"role": "assistant", "content": CALL}]

    # So small a model calls no tool: it is made to begin with a call, and to say no more.
    ended = {"temperature": 0, "stop": ["\n", " ", "."]}
    whole = client.chat("local/tools", asked, tools=[TOOL], options=ended)
    pieces = list(client.chat("local/tools", asked, tools=[TOOL], options=ended, stream=True))

    (call,) = whole.message.tool_calls
    assert call.function.name == "get_weather"
    assert list(call.function.arguments) == ["city"]
    assert whole.done_reason == "stop"
    (streamed,) = [one for piece in pieces for one in piece.message.tool_calls or ()]
    assert streamed.function.name == call.function.name  # of a call that it did not write, the engine streams no more
    answered = [asked[0], whole.message, {"role": "tool", "tool_name": "get_weather", "content": "rain"}]
    assert client.chat("local/tools", answered, tools=[TOOL], options=GREEDY).done
    assert "tools" in client.show("local/tools").capabilities
    client.generate("local/tools", keep_alive=0)


def test_eight_streams_at_once_all_end_well(client: ollama.Client) -> None:
    def tell(number: int) -> bool:
        asked = [{"role": "user", "content": f"Count to {number}."}]
        return bool([*client.chat(MODEL, asked, stream=True, options=GREEDY)][-1].done)

    with ThreadPoolExecutor(8) as pool:
        assert all(pool.map(tell, range(8)))
