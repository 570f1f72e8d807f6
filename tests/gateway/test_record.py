"""What is on record of each kind of request that the official client makes, from two services of one project."""

from __future__ import annotations

import contextlib
import json
import os
import signal
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from dmrc.capture.database import ExchangeDatabase
from dmrc.errors import NotFoundError
from dmrc.settings import Settings
from tests.gateway.conftest import MODEL, Gateway
from tests.gateway.tools import CALL, END_OF_TURN, TOOL, tooled_gateway
from tests.polling import eventually

pytestmark = pytest.mark.engine

SCHEMA = {
    "type": "object",
    "properties": {"animal": {"type": "string", "maxLength": 12}},
    "required": ["animal"],
    "additionalProperties": False,
}


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory, smollm2: Path) -> Iterator[Gateway]:
    """The project of the other tests, with a chat template that knows tools."""
    with tooled_gateway(tmp_path_factory.mktemp("shop"), smollm2) as found:
        yield found


def ask(text: str) -> list[dict[str, str]]:
    return [{"role": "user", "content": text}]


@pytest.fixture(scope="module")
def asked(gateway: Gateway) -> dict[str, str]:
    """Ask everything once, kill the daemon when all is on disk, and return the ids of the exchanges."""
    ids = {**answered(gateway), **refused(gateway), "cancelled": cancelled(gateway)}

    eventually(lambda: all(on_disk(gateway, each) for each in ids.values()), "all on disk", seconds=10)
    daemon = gateway.dmrc.daemon()
    children = daemon.children(recursive=True)
    os.kill(daemon.pid, signal.SIGKILL)
    psutil.wait_procs([*children, daemon], timeout=10)
    return ids


def on_disk(gateway: Gateway, exchange_id: str) -> bool:
    """Look into the database itself: for a command the daemon would write at once."""
    database = ExchangeDatabase(Settings.from_environment(gateway.dmrc.environment).paths.exchanges)
    with contextlib.suppress(NotFoundError):
        return database.get(exchange_id).id == exchange_id
    return False


def answered(gateway: Gateway) -> dict[str, str]:
    raw = gateway.client("web").chat.completions.with_raw_response
    ids = {}
    stream = raw.create(model=MODEL, messages=ask("Tell me a story."), max_tokens=12, stream=True)
    assert [chunk for chunk in stream.parse() if chunk.choices]
    ids["stream"] = stream.headers["x-dmrc-exchange-id"]
    called = raw.create(
        model=MODEL,
        messages=[*ask("What is the weather in Bern?"), {"role": "assistant", "content": CALL}],
        tools=[TOOL],
        logit_bias=END_OF_TURN,
        stream=True,
    )
    assert any(chunk.choices[0].delta.tool_calls for chunk in called.parse() if chunk.choices)
    ids["tool call"] = called.headers["x-dmrc-exchange-id"]
    structured = raw.create(
        model=MODEL,
        messages=ask("Name an animal."),
        response_format={"type": "json_schema", "json_schema": {"name": "animal", "schema": SCHEMA}},
        max_tokens=60,
    )
    assert json.loads(structured.parse().choices[0].message.content or "").keys() == {"animal"}
    ids["schema"] = structured.headers["x-dmrc-exchange-id"]
    embedded = gateway.client("other").embeddings.with_raw_response.create(
        model="local/embedder", input=["a whale", "a car"]
    )
    ids["embedding"] = embedded.headers["x-dmrc-exchange-id"]
    return ids


def refused(gateway: Gateway) -> dict[str, str]:
    import openai

    with pytest.raises(openai.BadRequestError) as too_long:
        gateway.client("web").chat.completions.create(model=MODEL, messages=ask("word " * 600))
    with pytest.raises(openai.PermissionDeniedError) as forbidden:
        gateway.client("other").chat.completions.create(model=MODEL, messages=ask("Hi"))
    errors = {"400": too_long, "403": forbidden}
    return {name: caught.value.response.headers["x-dmrc-exchange-id"] for name, caught in errors.items()}


def cancelled(gateway: Gateway) -> str:
    client = gateway.client("web")
    answer = client.chat.completions.with_raw_response.create(
        model=MODEL, messages=ask("Count."), max_tokens=450, stream=True, extra_body={"ignore_eos": True}
    )
    with answer.parse() as chunks:
        next(iter(chunks))
    client.close()
    return str(answer.headers["x-dmrc-exchange-id"])


@pytest.fixture
def shown(gateway: Gateway, asked: dict[str, str]):
    return lambda name: json.loads(gateway.dmrc.ok("requests", "show", asked[name], "--json"))


@pytest.mark.parametrize("name", ["stream", "tool call", "schema", "400", "cancelled"])
def test_the_one_service_is_named(shown, name: str) -> None:
    exchange = shown(name)

    assert (exchange["project"], exchange["service"], exchange["model_key"]) == ("shop", "web", "chat")
    assert exchange["model_reference"] == f"docker.io/{MODEL}"
    assert exchange["model_digest"].startswith("sha256:")
    assert (exchange["engine"], exchange["context_tokens"]) == ("llama.cpp", 512)
    assert exchange["user_agent"].startswith("OpenAI/Python")
    assert "sk-dmrc-" not in json.dumps(exchange)


@pytest.mark.parametrize("name", ["embedding", "403"])
def test_the_other_service_is_named(shown, name: str) -> None:
    assert (shown(name)["project"], shown(name)["service"]) == ("shop", "other")


def test_a_stream_has_its_bytes_and_their_times(shown) -> None:
    exchange = shown("stream")

    assert exchange["response_body"].rstrip().endswith("data: [DONE]")
    assert len(exchange["chunk_offsets"]) > 3
    assert 0 < exchange["first_token_ms"] <= exchange["chunk_offsets"][-1][0] <= exchange["total_ms"]
    assert (exchange["stream"], exchange["status"], exchange["completion_tokens"]) == (True, 200, 12)
    assert exchange["prompt_tokens"] > exchange["cached_tokens"] >= 0
    assert exchange["completion_tokens_per_second"] > 0


def test_a_tool_call_is_shown_as_one(gateway: Gateway, shown, asked: dict[str, str]) -> None:
    assert shown("tool call")["finish_reason"] == "tool_calls"
    page = gateway.dmrc.ok("requests", "show", asked["tool call"][-8:])
    assert "calls get_weather" in page
    assert '"city":' in page


def test_a_structured_answer_is_json(gateway: Gateway, shown, asked: dict[str, str]) -> None:
    assert shown("schema")["finish_reason"] == "stop"
    assert '  "animal": ' in gateway.dmrc.ok("requests", "show", asked["schema"])


def test_an_embedding_has_its_tokens_and_its_vectors(gateway: Gateway, shown, asked: dict[str, str]) -> None:
    exchange = shown("embedding")

    assert (exchange["operation"], exchange["status"], exchange["completion_tokens"]) == ("embedding", 200, None)
    assert exchange["prompt_tokens"] > 3
    assert "2 vectors" in gateway.dmrc.ok("requests", "show", asked["embedding"])


def test_a_400_says_why(gateway: Gateway, shown, asked: dict[str, str]) -> None:
    assert (shown("400")["status"], shown("400")["error_type"]) == (400, "exceed_context_size_error")
    assert "error: " in gateway.dmrc.ok("requests", "show", asked["400"])


def test_a_403_says_which_model_was_wanted(shown) -> None:
    exchange = shown("403")

    assert (exchange["status"], exchange["error_type"]) == (403, "permission_error")
    assert exchange["model_requested"] == MODEL
    assert "may not use model" in exchange["error_message"]


def test_a_cancelled_stream_has_what_was_sent(shown) -> None:
    exchange = shown("cancelled")

    assert exchange["client_disconnected"] is True
    assert (exchange["status"], exchange["error_type"], exchange["finish_reason"]) == (200, None, None)
    assert exchange["first_token_ms"] > 0
    assert "[DONE]" not in exchange["response_body"]
    assert "data: {" in exchange["response_body"]
