"""What Docker Model Runner's end-to-end tests look at in the answers themselves, where a client library hides it.

One daemon with a real model; the bodies are read as they come: a client computes `output_text` and drops `[DONE]`.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import urllib3

from tests.dmrc_command import temporary_dmrc
from tests.docker_model.conftest import as_docker_model

MODEL = "ai/smollm2:135M-Q4_0"
_ANSWER = {
    "type": "object",
    "properties": {"answer": {"type": "string", "enum": ["yes"]}},
    "required": ["answer"],
    "additionalProperties": False,
}


class Runner:
    """The HTTP address of a running daemon that has the model."""

    def __init__(self, port: int) -> None:
        self._url = f"http://127.0.0.1:{port}"
        self._http = urllib3.PoolManager(maxsize=5, timeout=120, retries=False)

    def ask(self, path: str, **body: object) -> bytes:
        """Return the body of an answer that must be a success."""
        answer = self._http.request("POST", f"{self._url}{path}", json={"model": MODEL, **body})
        assert answer.status == 200, answer.data
        return answer.data

    def chat(self, prompt: str, **more: object) -> bytes:
        messages = [{"role": "user", "content": prompt}]
        return self.ask("/engines/v1/chat/completions", messages=messages, max_tokens=16, **more)


@pytest.fixture(scope="module")
def runner(tmp_path_factory: pytest.TempPathFactory, smollm2: Path, needs_engine: None) -> Iterator[Runner]:
    """One daemon for all tests of this file."""
    with temporary_dmrc() as dmrc:
        docker_model = as_docker_model(dmrc, tmp_path_factory.mktemp("docker"))
        docker_model.ok("package", "--gguf", smollm2, "--context-size", "2048", MODEL)
        docker_model.ok("start-runner")
        yield Runner(docker_model.port)


def test_a_chat_is_the_assistants(runner: Runner) -> None:
    message = json.loads(runner.chat("Say hello in one word."))["choices"][0]["message"]

    assert message["role"] == "assistant"
    assert message["content"]


def test_a_stream_ends_with_done(runner: Runner) -> None:
    events = [line for line in runner.chat("Count from 1 to 3.", stream=True).decode().splitlines() if line]

    assert all(line.startswith("data: ") for line in events if not line.startswith(":"))
    assert events[-1] == "data: [DONE]"
    chunks = [json.loads(line[6:]) for line in events[:-1] if not line.startswith(":")]
    assert "".join(choice["delta"].get("content") or "" for chunk in chunks for choice in chunk["choices"])


def test_a_response_carries_its_text(runner: Runner) -> None:
    response = json.loads(runner.ask("/responses", input="Say hi in one word.", temperature=0))

    assert response["status"] == "completed"
    assert response["output_text"]


def test_a_response_of_a_schema_carries_it_as_text(runner: Runner) -> None:
    form = {"type": "json_schema", "name": "answer_payload", "strict": True, "schema": _ANSWER}
    asked = {"input": "Return a JSON object with answer set to yes.", "max_output_tokens": 64, "text": {"format": form}}

    response = json.loads(runner.ask("/responses", **asked))

    assert response["status"] == "completed"
    assert json.loads(response["output_text"]) == {"answer": "yes"}


def test_a_message_has_text(runner: Runner) -> None:
    asked = [{"role": "user", "content": "Say hi."}]

    message = json.loads(runner.ask("/anthropic/v1/messages", max_tokens=16, messages=asked))

    assert message["content"][0]["text"]


def test_ollamas_answers_are_done(runner: Runner) -> None:
    short = {"stream": False, "options": {"num_predict": 16}}

    chat = json.loads(runner.ask("/api/chat", messages=[{"role": "user", "content": "Say hi."}], **short))
    generated = json.loads(runner.ask("/api/generate", prompt="Say hi.", **short))

    assert (chat["done"], generated["done"]) == (True, True)
    assert chat["message"]["content"]
    assert generated["response"]


def test_five_chats_at_the_same_time_are_all_answered(runner: Runner) -> None:
    with ThreadPoolExecutor(5) as pool:
        answers = list(pool.map(runner.chat, ["Say a single word."] * 5))

    assert all(json.loads(answer)["choices"][0]["message"]["content"] for answer in answers)
