"""What `dmrc requests export` writes is run, and read by those it is for."""

import json
import os
import shutil
import subprocess
import sys
from datetime import datetime
from pathlib import Path

import httpx
import pytest

from tests.gateway.conftest import MODEL, Gateway, gateway  # noqa: F401 the fixture
from tests.polling import eventually

QUESTION = 'What\'s a "whale"? $HOME `x` \\n é'


@pytest.fixture(scope="module")
def ids(gateway: Gateway) -> dict[str, str]:  # noqa: F811
    """A whole answer, a stream, an embedding and a refusal, by kind."""
    raw = gateway.client().chat.completions.with_raw_response
    messages = [{"role": "user", "content": QUESTION}]
    asked = {
        "chat": raw.create(model=MODEL, messages=messages, max_tokens=6, seed=7, extra_body={"top_k": 3}),
        "stream": raw.create(model=MODEL, messages=messages, max_tokens=6, stream=True),
        "embedding": gateway.client().embeddings.with_raw_response.create(
            model="local/embedder", input="a", encoding_format="float"
        ),
    }
    found = {name: answer.headers["x-dmrc-exchange-id"] for name, answer in asked.items()}
    list(asked["stream"].parse())
    eventually(lambda: len(gateway.exchanges()) >= 3)
    return found


@pytest.fixture
def again(gateway: Gateway, ids: dict[str, str], tmp_path: Path):  # noqa: F811
    """Export as a program, run it, and return what it printed and the exchanges that it made."""

    def run(form: str, command: list[str], directory: Path = tmp_path) -> tuple[str, list[dict[str, object]]]:
        before = {one["id"] for one in gateway.exchanges()}
        program = directory / command.pop()
        gateway.dmrc.ok("requests", "export", *ids.values(), "--as", form, "-o", program)
        assert "sk-dmrc" not in program.read_text()
        assert program.stat().st_mode & 0o777 == 0o600
        environment = {**os.environ, "OPENAI_API_KEY": gateway.keys["web"]}
        done = subprocess.run([*command, program], env=environment, capture_output=True, text=True, timeout=120)
        assert done.returncode == 0, done.stderr

        def new() -> list[dict[str, object]] | None:
            found = [one for one in gateway.exchanges() if one["id"] not in before]
            return found if len(found) == 3 else None

        return done.stdout, eventually(new)

    return run


def bodies(gateway: Gateway, ids) -> list[dict[str, object]]:  # noqa: F811
    shown = [json.loads(gateway.dmrc.ok("requests", "show", id, "--json")) for id in ids]
    return [json.loads(one["request_body"]) for one in shown]


@pytest.mark.parametrize(
    ("form", "command"),
    [("curl", ["sh", "again.sh"]), ("python", [sys.executable, "again.py"]), ("node", ["node", "again.mjs"])],
)
def test_a_program_asks_the_same_again(gateway: Gateway, ids, again, tmp_path: Path, form: str, command) -> None:  # noqa: F811
    if form == "node":
        _install_openai(tmp_path)

    printed, new = again(form, command)

    assert "chat.completion.chunk" in printed
    assert [one["status"] for one in new] == [200, 200, 200]
    assert [one["service"] for one in new] == ["web"] * 3
    assert bodies(gateway, [one["id"] for one in new]) == bodies(gateway, ids.values())


def _install_openai(directory: Path) -> None:
    example = Path(__file__).parents[3] / "examples" / "facts" / "facts-node"
    for name in ("package.json", "package-lock.json"):
        shutil.copy(example / name, directory)
    subprocess.run(["npm", "ci", "--no-audit", "--no-fund"], cwd=directory, check=True, capture_output=True)


def test_har_is_what_version_1_2_says(gateway: Gateway, ids) -> None:  # noqa: F811
    """Source: http://www.softwareishard.com/blog/har-12-spec/."""
    log = json.loads(gateway.dmrc.ok("requests", "export", *ids.values(), "--as", "har"))["log"]

    assert log["version"] == "1.2"
    assert log["creator"].keys() >= {"name", "version"}
    for entry in log["entries"]:
        assert entry.keys() >= {"startedDateTime", "time", "request", "response", "cache", "timings"}
        assert datetime.fromisoformat(entry["startedDateTime"]).tzinfo is not None
        request, response = entry["request"], entry["response"]
        both = {"httpVersion", "cookies", "headers", "headersSize", "bodySize"}
        assert request.keys() >= both | {"method", "url", "queryString", "postData"}
        assert response.keys() >= both | {"status", "statusText", "content", "redirectURL"}
        assert httpx.URL(request["url"]).path.startswith("/engines/v1/")
        assert request["postData"].keys() >= {"mimeType", "text"}
        assert response["content"].keys() >= {"size", "mimeType"}
        assert all(header.keys() >= {"name", "value"} for header in request["headers"] + response["headers"])
        timings = entry["timings"]
        assert abs(timings["send"] + timings["wait"] + timings["receive"] - entry["time"]) < 0.01
    assert "sk-dmrc" not in json.dumps(log)


def test_jsonl_has_a_whole_exchange_in_each_line(gateway: Gateway, ids) -> None:  # noqa: F811
    lines = gateway.dmrc.ok("requests", "export", *ids.values()).splitlines()

    assert [json.loads(line)["id"] for line in lines] == list(ids.values())
    assert all(json.loads(line)["request_body"] for line in lines)


def test_samples_of_the_evals_framework_leave_out_what_is_no_chat(gateway: Gateway, ids) -> None:  # noqa: F811
    done = gateway.dmrc.run("requests", "export", *ids.values(), "--as", "openai-eval")

    samples = [json.loads(line) for line in done.stdout.splitlines()]
    assert [sample["input"] for sample in samples] == [[{"role": "user", "content": QUESTION}]] * 2
    assert all(sample["ideal"] for sample in samples)
    assert "1 of 3 requests left out" in done.stderr
