"""Libraries that applications are written with, unmodified: chat, stream, tools, structured output, a second turn."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.clients.conftest import CALLS, CHATS, REPLY, Program
from tests.dmrc_command import Dmrc

pytestmark = pytest.mark.timeout(900)

CALL = ["get_weather", {"city": "Bern"}]
JAVA = Path(__file__).parents[1] / "gateway" / "JavaClient.java"


def check_words(found: dict[str, Any]) -> None:
    """Whole and streamed answers are the same words at temperature 0, in pieces, and are counted once."""
    assert found["chat"]
    assert found["stream"] == found["chat"]
    assert found["pieces"] > 2
    prompt, answer = found["tokens"]
    assert 20 < prompt < 60
    assert 0 < answer <= 64


def check_animal(animal: dict[str, Any]) -> None:
    assert set(animal) == {"name", "legs"}
    assert isinstance(animal["name"], str)
    assert isinstance(animal["legs"], int)


@pytest.mark.parametrize("kind", ["openai", "responses", "anthropic", "ollama"])
def test_langchain(python: Program, kind: str) -> None:
    found = python("langchain.py", kind)

    check_words(found)
    assert found["tool"] == found["tool_stream"] == [CALL]
    assert found["second"] == REPLY
    check_animal(found["structured"])
    if kind == "ollama":  # its API has no word for a tool that must be called
        assert "does not support tools" in found["by_function"]
    else:
        check_animal(found["by_function"])


@pytest.mark.parametrize("kind", ["chat", "responses", "anthropic"])
def test_pydantic_ai(python: Program, kind: str) -> None:
    found = python("agents.py", kind)

    check_words(found)
    assert found["second"]
    assert found["tool"] == [CALL[1], CALL[1]]  # once whole, once streamed
    assert found["answer"] == found["tool_stream"] == REPLY
    check_animal(found["structured"])


@pytest.mark.parametrize("kind", ["openai", "anthropic", "ollama_chat"])
def test_litellm(python: Program, kind: str) -> None:
    found = python("lite.py", kind)

    check_words(found)
    assert found["tool"] == found["tool_stream"] == [CALL]
    assert found["second"] == REPLY
    check_animal(found["structured"])


@pytest.mark.parametrize("kind", ["responses", "chat", "compatible", "anthropic"])
def test_the_ai_sdk(node: Program, kind: str) -> None:
    found = node("ai_sdk.mjs", kind)

    assert found["failed"] == []
    check_words(found)
    assert found["cut"] == "length"
    assert found["second"]
    assert found["tool"] == found["tool_stream"] == [CALL]
    assert found["answer"] == found["answer_stream"] == REPLY
    check_animal(found["structured"])
    check_animal(found["structured_stream"])


def test_openai_go(go: Program) -> None:
    found = go()

    check_words(found)
    assert found["tool"] == found["tool_stream"] == [CALL]
    assert found["second"] == REPLY
    assert found["response"]
    check_animal(found["structured"])


TOOL = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
    },
}
ANIMAL = {
    "type": "object",
    "properties": {"name": {"type": "string"}, "legs": {"type": "integer"}},
    "required": ["name", "legs"],
}


@pytest.mark.java
def test_the_jdks_http_client(served: Dmrc) -> None:
    """As Spring and langchain4j use it: each connection begins with an offer to speak HTTP/2."""

    def post(body: dict[str, Any]) -> str:
        document = {"temperature": 0, "max_tokens": 64, **body}
        url = f"http://127.0.0.1:{served.port}/engines/v1/chat/completions"
        argv = ["java", str(JAVA), "none", url, json.dumps(document)]
        done = subprocess.run(argv, capture_output=True, text=True, timeout=120, check=True)
        status, _, answer = done.stdout.partition("\n")
        assert status.startswith("200 "), done.stdout
        return answer.removesuffix("\n").removesuffix("\0")

    def message(body: dict[str, Any]) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(post(body))["choices"][0]["message"]
        return found

    hello = {"model": CHATS, "messages": [{"role": "user", "content": "Say hello"}]}
    asked = [{"role": "user", "content": "What is the weather in Bern?"}]
    events = [line[6:] for line in post({**hello, "stream": True}).splitlines() if line.startswith("data: ")]
    call = message({"model": CALLS, "messages": asked, "tools": [TOOL]})
    (made,) = call["tool_calls"]
    result = {"role": "tool", "tool_call_id": made["id"], "content": "sunny"}
    schema = {"type": "json_schema", "json_schema": {"name": "animal", "schema": ANIMAL}}

    assert events[-1] == "[DONE]"
    deltas = [choice["delta"] for event in events[:-1] for choice in json.loads(event)["choices"]]
    assert "".join(delta.get("content") or "" for delta in deltas) == message(hello)["content"]
    assert [made["function"]["name"], json.loads(made["function"]["arguments"])] == CALL
    assert message({"model": CALLS, "messages": [*asked, call, result], "tools": [TOOL]})["content"] == REPLY
    check_animal(json.loads(message({**hello, "response_format": schema})["content"]))
