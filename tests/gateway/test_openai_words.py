"""OpenAI's words that llama.cpp's server drops, refuses or says otherwise, on the real engine. Issue 16, B2 to B18."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.gateway.conftest import MODEL, Gateway
from tests.gateway.tools import TOOL
from tests.llama3 import TWO_CALLS, write_llama3

ASKED: list[Any] = [{"role": "user", "content": "What is the weather in Bern?"}]
OTHER = {"type": "function", "function": {"name": "other", "parameters": {"type": "object", "properties": {}}}}
Recorded = Callable[[str], dict[str, object]]


@pytest.fixture(scope="module")
def llama3(gateway: Gateway, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A model of which one turn calls two tools."""
    gguf = write_llama3(tmp_path_factory.mktemp("llama3") / "llama3.gguf")
    gateway.dmrc.ok("package", "--gguf", gguf, "local/llama3")
    yield "local/llama3"


def answered(gateway: Gateway, path: str, document: object, **headers: str) -> httpx.Response:
    return httpx.post(f"{gateway.url}{path}", json=document, headers=headers, timeout=60)


def called(answer: Any, stream: bool) -> tuple[str, dict[str, Any], str]:
    """The name, arguments and finish reason of the one call of an answer."""
    if not stream:
        (call,) = answer.choices[0].message.tool_calls
        return call.function.name, json.loads(call.function.arguments), answer.choices[0].finish_reason
    choices = [chunk.choices[0] for chunk in answer if chunk.choices]
    parts = [part for choice in choices for part in choice.delta.tool_calls or []]
    assert not any(choice.delta.content for choice in choices)
    (name,) = [part.function.name for part in parts if part.function.name]
    arguments = "".join(part.function.arguments or "" for part in parts)
    return name, json.loads(arguments), next(one.finish_reason for one in choices if one.finish_reason)


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("choice", ["required", {"type": "function", "function": {"name": "get_weather"}}])
def test_a_call_that_is_wanted_is_made_by_a_model_whose_template_knows_no_tools(
    gateway: Gateway, choice: Any, stream: bool
) -> None:
    tools: Any = [TOOL] if choice == "required" else [OTHER, TOOL]

    answer = gateway.client().chat.completions.create(
        model=MODEL, messages=ASKED, tools=tools, tool_choice=choice, max_tokens=120, stream=stream
    )

    name, arguments, reason = called(answer, stream)
    assert (name, arguments.keys(), reason) == ("get_weather", {"city"}, "tool_calls")


def test_tools_are_refused_by_name_where_the_template_would_leave_them_out(gateway: Gateway) -> None:
    import openai

    chat = gateway.client().chat.completions

    with pytest.raises(openai.BadRequestError, match="does not support tools: its chat template has no place"):
        chat.create(model=MODEL, messages=ASKED, tools=[TOOL])
    with pytest.raises(openai.BadRequestError, match="names the function 'nope', which is not one of the tools"):
        nope: Any = {"type": "function", "function": {"name": "nope"}}
        chat.create(model=MODEL, messages=ASKED, tools=[TOOL], tool_choice=nope)
    assert chat.create(model=MODEL, messages=ASKED, tools=[TOOL], tool_choice="none", max_tokens=2).choices


def test_two_calls_that_the_engine_cannot_read_are_words_and_the_record_says_so(
    gateway: Gateway, llama3: str, recorded: Recorded
) -> None:
    said, chat = "".join(TWO_CALLS), gateway.client(None).chat.completions
    wish: Any = {"model": llama3, "messages": ASKED, "tools": [TOOL], "max_tokens": 60}

    raw = chat.with_raw_response.create(**wish)
    chunks = [chunk.choices[0] for chunk in chat.create(**wish, stream=True) if chunk.choices]

    assert raw.parse().choices[0].message.content == said
    assert "could not read" in str(recorded(raw.headers["x-dmrc-exchange-id"])["annotations"])
    assert "".join(chunk.delta.content or "" for chunk in chunks) == said
    # The first call had been told before the second one could not be read.
    assert [chunk.finish_reason for chunk in chunks if chunk.finish_reason] == ["tool_calls"]


def test_a_call_that_was_cut_does_not_stop_the_next_turn(gateway: Gateway, llama3: str) -> None:
    for arguments in ("", '{"city": "Be', "not JSON"):
        call = {"id": "1", "type": "function", "function": {"name": "get_weather", "arguments": arguments}}
        turn = [{"role": "assistant", "tool_calls": [call]}, {"role": "tool", "tool_call_id": "1", "content": "rain"}]
        answer = answered(
            gateway, "/v1/chat/completions", {"model": llama3, "messages": [*ASKED, *turn], "max_tokens": 2}
        )
        assert answer.status_code == 200, answer.text


@pytest.mark.parametrize("stream", [False, True])
def test_the_beginning_that_the_caller_gave_is_not_repeated(gateway: Gateway, stream: bool) -> None:
    begun: Any = [*ASKED, {"role": "assistant", "content": "The weather in"}]

    answer: Any = gateway.client().chat.completions.create(model=MODEL, messages=begun, max_tokens=6, stream=stream)

    said = "".join(c.choices[0].delta.content or "" for c in answer) if stream else answer.choices[0].message.content
    assert said
    assert not said.startswith("The weather")


@pytest.mark.parametrize("stream", [False, True])
def test_an_answer_bears_the_name_that_was_asked_for(gateway: Gateway, stream: bool) -> None:
    for name in ("chat", MODEL):
        answer: Any = gateway.client().chat.completions.create(
            model=name,
            messages=ASKED,
            max_tokens=3,
            stream=stream,
            stream_options={"include_usage": True} if stream else None,
        )
        assert {chunk.model for chunk in (answer if stream else [answer])} == {name}


def test_ps_names_a_model_as_it_was_asked_for_last(gateway: Gateway) -> None:
    gateway.dmrc.ok("tag", "local/embedder", "local/second")
    for name in ("local/embedder", "local/second"):
        gateway.client(None).embeddings.create(model=name, input="x")

        rows = httpx.get(f"{gateway.url}/engines/ps").json()
        assert f"docker.io/{name}:latest" in [row["model_name"] for row in rows]


def test_a_prompt_that_is_too_long_says_what_would_do_and_where(gateway: Gateway) -> None:
    import openai

    with pytest.raises(openai.BadRequestError) as caught:
        gateway.client().chat.completions.create(model=MODEL, messages=[{"role": "user", "content": "word " * 600}])

    assert caught.value.code == "context_length_exceeded"
    assert caught.value.body["n_ctx"] == 512  # type: ignore[index]
    assert "context_size: 2048 under models.chat, or: dmrc configure --context-size 2048" in str(caught.value)


@pytest.mark.parametrize(
    ("path", "fields", "words"),
    [
        ("chat/completions", {"audio": {"voice": "x"}}, "'audio' is not supported"),
        ("chat/completions", {"modalities": ["text", "audio"]}, "'modalities' is not supported"),
        ("chat/completions", {"functions": [{"name": "x"}]}, "send those"),
        ("chat/completions", {"web_search_options": {}}, "'web_search_options' is not supported"),
        ("completions", {"suffix": "x"}, "'suffix' is not supported"),
        ("completions", {"best_of": 2}, "'best_of' is not supported"),
        ("completions", {"echo": True, "logprobs": 1}, "'echo' with 'logprobs'"),
        ("completions", {"logprobs": True}, "'logprobs' must be a whole number"),
        ("embeddings", {"dimensions": 0}, "'dimensions' must be a whole number above 0, not 0"),
        ("embeddings", {"dimensions": 5000}, "has 576"),
    ],
)
def test_what_would_be_ignored_is_refused_by_name(
    gateway: Gateway, path: str, fields: dict[str, object], words: str
) -> None:
    document = {"model": "local/embedder", "messages": ASKED, "prompt": "x", "input": "x", "max_tokens": 1, **fields}

    answer = answered(gateway, f"/v1/{path}", document)

    assert answer.status_code == 400, answer.text
    assert words in answer.json()["error"]["message"]


def test_half_a_character_and_no_json_are_the_callers_fault(gateway: Gateway) -> None:
    for text in (r'"\ud83d"', "NaN", r'["\udc00"]'):
        body = f'{{"model": "local/embedder", "max_tokens": 1, "messages": [{{"role": "user", "content": {text}}}]}}'
        answer = httpx.post(f"{gateway.url}/v1/chat/completions", content=body, timeout=60)
        assert answer.status_code == 400, answer.text


def test_completions_have_their_own_probabilities_and_their_prompts(gateway: Gateway) -> None:
    completions = gateway.client().completions

    answer = completions.create(model="chat", prompt=["One,", "Two,"], max_tokens=2, logprobs=2)
    alone = completions.create(model="chat", prompt="One,", max_tokens=2, logprobs=0)
    echoed = completions.create(model="chat", prompt=["One,", "Two,"], max_tokens=2, echo=True)

    for choice in answer.choices:
        assert choice.logprobs is not None
        assert len(choice.logprobs.tokens or []) == len(choice.logprobs.token_logprobs or []) == 2
        assert [len(top) for top in choice.logprobs.top_logprobs or []] == [2, 2]
        assert "".join(choice.logprobs.tokens or []) == choice.text
    assert alone.choices[0].logprobs is not None
    assert alone.choices[0].logprobs.top_logprobs is None
    assert [choice.text[:4] for choice in echoed.choices] == ["One,", "Two,"]


def test_several_prompts_stream_without_an_event_that_is_nothing(gateway: Gateway) -> None:
    for echo in (False, True):
        stream = gateway.client().completions.create(
            model="chat", prompt=["One,", "Two,"], max_tokens=3, stream=True, echo=echo
        )
        texts = ["", ""]
        for chunk in stream:
            for choice in chunk.choices:
                texts[choice.index] += choice.text
        assert all(texts)
        assert [text[:4] for text in texts] == ["One,", "Two,"] or not echo


@pytest.mark.parametrize("form", ["float", "base64"])
def test_embeddings_have_as_many_numbers_as_were_asked_for(gateway: Gateway, form: Any, recorded: Recorded) -> None:
    embeddings = gateway.client("other").embeddings

    raw = embeddings.with_raw_response.create(
        model="local/embedder", input=["a whale", "a car"], dimensions=64, encoding_format=form
    )

    for one in raw.parse().data:
        numbers = one.embedding if isinstance(one.embedding, list) else []
        assert len(numbers) == 64 or form == "base64"
        assert math.isclose(math.hypot(*numbers), 1, rel_tol=1e-3) or form == "base64"
    assert "made for chats" in str(recorded(raw.headers["x-dmrc-exchange-id"])["annotations"])


def test_a_text_that_is_too_long_to_be_embedded_is_named_or_cut(gateway: Gateway) -> None:
    import openai

    texts = ["short", "word " * 400]

    with pytest.raises(openai.BadRequestError, match=r"'input\[1\]' is too long") as caught:
        gateway.client("other").embeddings.create(model="local/embedder", input=texts)
    cut = answered(gateway, "/api/embed", {"model": "local/embedder", "input": texts})
    refused = answered(gateway, "/api/embed", {"model": "local/embedder", "input": texts, "truncate": False})

    assert caught.value.code == "context_length_exceeded"
    assert [len(one) for one in cut.json()["embeddings"]] == [576, 576]
    assert refused.status_code == 400
    assert "too long" in refused.json()["error"]


def test_a_model_that_is_only_to_be_loaded_says_nothing(gateway: Gateway) -> None:
    gateway.dmrc.ok("unload", "--all")
    document = {"model": "local/embedder", "messages": []}

    answer = answered(gateway, "/engines/v1/chat/completions", document, **{"x-preload-only": "true"})

    assert (answer.status_code, answer.content) == (200, b"")
    assert [row["model_name"] for row in httpx.get(f"{gateway.url}/engines/ps").json()] == [
        "docker.io/local/embedder:latest"
    ]


@pytest.mark.parametrize("prefix", ["/v1", "/engines/v1", "/engines/llama.cpp/v1", "/engines/vllm/v1"])
def test_models_are_listed_with_docker_model_runners_facts(gateway: Gateway, prefix: str) -> None:
    listed = httpx.get(f"{gateway.url}{prefix}/models").json()["data"]

    (one,) = [model for model in listed if model["id"] == "docker.io/local/embedder:latest"]
    assert one["owned_by"] == "docker"
    assert {"context_window": 256, "architecture": "llama", "quantization": "Q4_1"}.items() <= one["dmr"].items()
    assert one in json.loads(gateway.dmrc.ok("list", "--openai"))["data"]
    if prefix != "/engines/vllm/v1":
        assert httpx.get(f"{gateway.url}{prefix}/models/local/embedder").json()["dmr"] == one["dmr"]


def test_docker_model_runners_configuration_replaces_what_was_set(gateway: Gateway) -> None:
    def configured(**fields: object) -> dict[str, Any]:
        told = answered(gateway, "/engines/_configure", {"model": "local/embedder", **fields})
        assert told.status_code == 202, told.text
        entries = httpx.get(f"{gateway.url}/engines/_configure?model=local/embedder").json()
        (entry,) = [one for one in entries if one["Project"] is None]
        return entry["Origin"] | entry["Config"]

    first = configured(**{"context-size": 128, "runtime-flags": ["--temp", "0.1"]})
    second = configured(**{"context-size": -1})

    assert (first["context-size"], first["runtime-flags"]) == (128, ["--temp", "0.1"])
    assert "runtime-flags" not in second
    assert second["context-size"] != 128
    assert "nothing was set" in gateway.dmrc.run("configure", "rm", "local/embedder").stderr


def test_to_unload_what_is_not_there_is_no_error(gateway: Gateway) -> None:
    answer = answered(gateway, "/engines/unload", {"models": ["nosuch"]})

    assert (answer.status_code, answer.json()) == (200, {"unloaded_runners": 0})


def test_a_reranker_is_what_is_configured_as_one(gateway: Gateway, smollm2: Path) -> None:
    gateway.dmrc.ok("package", "--gguf", smollm2, "local/ranks")
    wish = {"model": "local/ranks", "query": "whale", "documents": ["a whale", "a car"]}
    refused = answered(gateway, "/rerank", wish)

    gateway.dmrc.ok("configure", "--mode", "reranking", "local/ranks")
    answer = answered(gateway, "/rerank", wish)

    assert refused.status_code == 400
    assert "dmrc configure --mode reranking" in refused.text
    assert answer.status_code == 200, answer.text
    assert len(answer.json()["results"]) == 2
