"""The secrets of a project: the model receives them, and no file has them."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import httpx
import pytest

from dmrc.capture.secrets import memory_directory
from tests.dmrc_command import Dmrc
from tests.gateway.conftest import MODEL, Gateway
from tests.polling import eventually

pytestmark = pytest.mark.engine

SECRET = 'correct "horse" bättery/staple\\7'
TOKEN = "q8Zk2-Lw93.vTr5"


@pytest.fixture
def secretive(dmrc: Dmrc, smollm2: Path, tmp_path: Path) -> Gateway:
    """A project with a secret in a file and one in its env file, in a dmrc of its own."""
    (tmp_path / "compose.yaml").write_text(
        f"name: shop\nservices:\n  web: {{image: none, models: [chat], env_file: [app.env], secrets: [db]}}\n"
        f"models:\n  chat: {{model: '{MODEL}', context_size: 512}}\nsecrets:\n  db: {{file: ./db.txt}}\n"
    )
    (tmp_path / "app.env").write_text(f"BILLING_TOKEN={TOKEN}\nGREETING=hello-everyone\n")
    (tmp_path / "db.txt").write_text(SECRET + "\n")
    dmrc.ok("package", "--gguf", smollm2, MODEL)
    key = json.loads(dmrc.ok("env", "web", "--format", "json", cwd=tmp_path))["OPENAI_API_KEY"]
    return Gateway(dmrc, {"web": key})


def files_with(home: Path, *secrets: str) -> list[str]:
    """Return the files that hold a secret, as it is or as JSON writes it; the models in the store are searched too."""
    forms = {
        form.encode()
        for text in secrets
        for form in (text, json.dumps(text)[1:-1], json.dumps(text, ensure_ascii=False)[1:-1])
    }
    return [
        str(path)
        for path in home.rglob("*")
        if path.is_file()
        for data in [path.read_bytes()]
        if any(form in data for form in forms)
    ]


def ask_with_secrets(gateway: Gateway) -> str:
    """Put both secrets in a prompt, a header and the URL; the model is made to stream the token back."""
    text = f"Our database password is {SECRET}. Repeat: {TOKEN}"
    answer = httpx.post(
        f"{gateway.url}/engines/v1/chat/completions?key={TOKEN}",
        headers={"authorization": f"Bearer {gateway.keys['web']}", "x-trace": f"a {TOKEN} b", "user-agent": TOKEN},
        json={
            "model": MODEL,
            "messages": [{"role": "user", "content": text}],
            "stream": True,
            "max_tokens": 40,
            "stream_options": {"include_usage": True},
            "grammar": f'root ::= "It is {TOKEN} indeed, hello-everyone"',
        },
        timeout=60,
    )
    assert answer.status_code == 200, answer.text
    pieces = [json.loads(line[6:]) for line in answer.text.splitlines() if line.startswith("data: {")]
    said = "".join(choice["delta"].get("content") or "" for piece in pieces for choice in piece["choices"])
    assert TOKEN in said, "the model did not say it, so nothing is shown by this test"
    assert sum(TOKEN in json.dumps(piece) for piece in pieces) == 0, "it was not split"
    return answer.headers["x-dmrc-exchange-id"]


def test_a_secret_of_the_project_is_in_no_file_and_the_model_received_it(secretive: Gateway) -> None:
    dmrc = secretive.dmrc
    id = ask_with_secrets(secretive)

    exchange = eventually(lambda: json.loads(dmrc.run("requests", "show", id, "--json").stdout or "null"))

    assert exchange["request_body"].count("[redacted]") == 3
    assert "It is [redacted] indeed, hello-everyone" in dmrc.ok("requests", "show", id)
    assert exchange["request_headers"]["x-trace"] == "a [redacted] b"
    assert exchange["user_agent"] == "[redacted]"
    assert exchange["prompt_tokens"] > 30
    assert files_with(dmrc.home, SECRET, TOKEN) == []
    dmrc.ok("stop-runner")
    assert files_with(dmrc.home, SECRET, TOKEN) == []


def test_a_daemon_started_again_still_knows_the_secrets(secretive: Gateway) -> None:
    secretive.dmrc.ok("stop-runner")
    with serving(secretive.dmrc):
        id = ask_with_secrets(secretive)
        eventually(lambda: "It is [redacted]" in secretive.dmrc.run("requests", "show", id).stdout)

        assert files_with(secretive.dmrc.home, SECRET, TOKEN) == []


def test_where_the_secrets_are_lost_no_content_is_recorded_until_they_are_known_again(
    secretive: Gateway, tmp_path: Path
) -> None:
    dmrc = secretive.dmrc
    dmrc.ok("stop-runner")
    directory = memory_directory(dmrc.home)
    assert directory is not None
    assert directory.stat().st_mode & 0o777 == 0o700
    file = directory / "secrets.json"
    assert file.stat().st_mode & 0o777 == 0o600
    file.unlink()
    with serving(dmrc) as daemon:
        ask_with_secrets(secretive)
        id = ask_with_secrets(secretive)
        shown = eventually(lambda: json.loads(dmrc.run("requests", "show", id, "--json").stdout or "null"))

        assert (shown["request_body"], shown["request_headers"], shown["user_agent"]) == ("", {}, None)
        assert (shown["status"], shown["service"]) == (200, "web")
        assert files_with(dmrc.home, SECRET, TOKEN) == []

        dmrc.ok("env", "web", cwd=tmp_path)
        id = ask_with_secrets(secretive)
        eventually(lambda: "It is [redacted]" in dmrc.run("requests", "show", id).stdout)
    assert daemon.log.count("recorded without headers and bodies") == 1


@pytest.mark.parametrize("level", ["metadata", "off"])
def test_what_an_engine_says_of_a_request_is_content(dmrc: Dmrc, smollm2: Path, tmp_path: Path, level: str) -> None:
    """Issue 16, D1: llama.cpp quotes the prompt in its errors, and prints them."""
    (tmp_path / "compose.yaml").write_text(
        f"name: shop\nservices:\n  web: {{image: none, models: [chat], environment: {{BILLING_TOKEN: {TOKEN}}}}}\n"
        f"models:\n  chat: {{model: '{MODEL}', context_size: 512}}\nx-dmrc: {{capture: {level}}}\n"
    )
    dmrc.ok("package", "--gguf", smollm2, MODEL)
    key = json.loads(dmrc.ok("env", "web", "--format", "json", cwd=tmp_path))["OPENAI_API_KEY"]
    word = "Xanadu4711"
    refused = []
    for fault in (
        {"tool_choice": word, "tools": [{"type": "function", "function": {"name": "f"}}]},
        {"response_format": {"type": "json_schema", "json_schema": {"schema": {"type": word}}}},
        {"grammar": f"root ::= {word} {TOKEN}"},
        {"tools": [{"type": "function", "function": {"name": "f", "parameters": {"type": word}}}]},
        {"messages": [{"role": "user", "content": [{"type": word, "text": TOKEN}]}]},
        {"tool_choice": {"type": "function", "function": {"name": word}}},
        {"response_format": {"type": "json_schema", "json_schema": {"schema": {"pattern": word, "type": "string"}}}},
    ):
        body = {"model": MODEL, "messages": [{"role": "user", "content": f"{word} {TOKEN}"}], "max_tokens": 1, **fault}
        url = f"http://127.0.0.1:{dmrc.port}/engines/v1/chat/completions"
        answer = httpx.post(url, json=body, headers={"authorization": f"Bearer {key}"}, timeout=60)
        refused += [answer.text] if answer.status_code >= 400 else []

    assert sum(word in text for text in refused) >= 1, f"nothing is shown by this test: {refused}"
    dmrc.ok("stop-runner")
    assert files_with(dmrc.home, word, TOKEN) == []
    recorded = json.loads(dmrc.ok("requests", "--json"))
    assert len(recorded) == (7 if level == "metadata" else 0)
    assert any(each["status"] == 400 and each["error_type"] for each in recorded) == (level == "metadata")


class serving:
    """A daemon in the foreground for a while."""

    def __init__(self, dmrc: Dmrc) -> None:
        self._dmrc = dmrc

    def __enter__(self) -> serving:
        self._process = subprocess.Popen(
            [self._dmrc.program, "serve"], env=self._dmrc.environment, stderr=subprocess.PIPE, text=True
        )
        assert self._process.stderr is not None
        assert any("serves" in line for line in self._process.stderr)
        return self

    def __exit__(self, *_error: object) -> None:
        self._process.terminate()
        self.log = self._process.communicate(timeout=30)[1]
