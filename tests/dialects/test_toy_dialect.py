"""A stranger's dialect: served, refused in its own words, readable in the record, and not a line changed for it."""

from __future__ import annotations

import json
from typing import Any

import httpx
import pytest

from tests.dmrc_command import Dmrc
from tests.installed_plugins import install_plugins
from tests.polling import eventually
from tests.tiny_safetensors import write_least_directory

TOLD = "config.json model.safetensors tokenizer.json"
TALK = [{"by": "me", "line": "What are you?"}, {"by": "you", "line": "A toy."}, {"by": "me", "line": "Of what?"}]


@pytest.fixture
def toy(dmrc: Dmrc) -> Dmrc:
    """A dmrc with the toy dialect before the toy engine."""
    install_plugins(dmrc, toy="tests.engines.toy", toy_dialect="tests.dialects.toy")
    dmrc.ok("package", "--safetensors-dir", write_least_directory(dmrc.home / "files"), "local/toy")
    (dmrc.home / "compose.yaml").write_text(
        "name: toys\nservices: {app: {image: none, models: [llm]}}\n"
        "models: {llm: {model: local/toy, x-dmrc: {engine: toy}}}\n"
    )
    dmrc.environment["TOY_KEY"] = json.loads(dmrc.ok("env", "app", "--format", "json", cwd=dmrc.home))["OPENAI_API_KEY"]
    return dmrc


def talk(toy: Dmrc, path: str = "/toy/talk", **body: object) -> httpx.Response:
    headers = {"authorization": f"Bearer {toy.environment['TOY_KEY']}"}
    return httpx.post(f"http://127.0.0.1:{toy.port}{path}", json={"model": "llm", **body}, headers=headers, timeout=60)


def recorded(toy: Dmrc, answer: httpx.Response) -> dict[str, Any]:
    id = answer.headers["x-toy-id"]
    found = eventually(
        lambda: next((one for one in json.loads(toy.ok("requests", "--json")) if one["id"] == id), None), "its record"
    )
    assert isinstance(found, dict)
    return found


@pytest.mark.parametrize("stream", [False, True])
def test_it_is_served_and_its_record_is_a_conversation(toy: Dmrc, stream: bool) -> None:
    answer = talk(toy, talk=TALK, stream=stream)

    lines = [json.loads(line) for line in answer.text.splitlines()]
    assert "".join(line.get("says", "") for line in lines) == TOLD
    assert (lines[-1]["over"], lines[-1]["counts"]) == ("stop", [1, 3])
    assert len(lines) > 1 if stream else len(lines) == 1

    record = recorded(toy, answer)
    assert (record["dialect"], record["operation"], record["engine"]) == ("toy", "chat", "toy")
    assert (record["prompt_tokens"], record["completion_tokens"], record["finish_reason"]) == (1, 3, "stop")
    assert (record["first_token_ms"] is not None) is stream
    shown = toy.ok("requests", "show", record["id"]).splitlines()[3:]
    assert [line.strip() for line in shown if line] == [
        *(f"Stream {str(stream).lower()}", "user", "What are you?", "assistant", "A toy.", "user", "Of what?"),
        *("assistant", TOLD),
    ]
    assert "What are you?" in toy.ok("requests")
    assert record["id"] in toy.ok("requests", "--json", "--grep", "safetensors")


def test_it_refuses_in_its_own_words(toy: Dmrc) -> None:
    silent, unknown = talk(toy, talk=[]), talk(toy, model="nobody", talk=TALK)

    assert (silent.status_code, silent.json()) == (400, {"sorry": "nobody talks. Say something"})
    assert unknown.status_code == 404
    assert "nobody" in unknown.json()["sorry"]
    assert recorded(toy, unknown)["error_message"] == unknown.json()["sorry"]
    missing = talk(toy, path="/toy/tlak", talk=TALK)
    assert (missing.status_code, list(missing.json())) == (404, ["sorry"])
