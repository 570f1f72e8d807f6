"""Secrets in all places that a request and an answer have: none is in a cassette, and their requests replay."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any
from urllib.parse import quote

import httpx
import pytest

from tests.replay.echoing import Echo
from tests.replay.stage import Side, Stage

pytestmark = pytest.mark.process

SECRET, OTHER = 'pl4nt3d/9zk2lw+&"é-of-the-shop', "an0th3r+value\\of<the same>'name"
FILED = "f1l3d-secret-of-compose-77"
TOKEN = "ghp_" + "a1B2c3D4" * 5
"""Secret by its look."""


def forms(secret: str) -> set[bytes]:
    """Return what a secret looks like, plain and encoded."""
    data = secret.encode()
    texts = {secret, quote(secret, safe=""), data.hex(), json.dumps(secret)[1:-1], json.dumps(json.dumps(secret))[1:-1]}
    for before in range(3):
        encoded = base64.b64encode(bytes(before) + data).decode()[2 * (before > 0) + (before > 0) : -4]
        texts |= {encoded, encoded.replace("+", "-").replace("/", "_")}
    return {text.encode() for text in texts}


def said_by_user(words: str) -> list[dict[str, str]]:
    return [{"role": "user", "content": words}]


def questions(secret: str, *, encoded: bool) -> list[tuple[str, dict[str, Any]]]:
    """Return requests with a secret in each place; the server repeats the last message."""
    said = {
        "plain": f"my password is {secret}, keep it",
        "url": f"https://example.com/?q={quote(secret, safe='')}",
        "json in text": json.dumps({"note": secret}),
        "look": f"use {TOKEN} there",
        "name": "PGPASSWORD=hunter2-hunter2 psql",
        "filed": f"and {FILED}",
    }
    if encoded:
        said |= {
            "base64": f"data {base64.b64encode(secret.encode()).decode()} end",
            "hex": secret.encode().hex(),
            "twice": json.dumps(json.dumps({"note": secret})),
        }
    call = {"id": "call_1", "type": "function", "function": {"name": "f", "arguments": json.dumps({"x": secret})}}
    chat = "/engines/v1/chat/completions"
    hi = said_by_user("hi")
    found = [(chat, {"messages": said_by_user(words)}) for words in said.values()]
    found += [(chat, {**body, "stream": True}) for _, body in found]
    found += [
        (chat, {"messages": [{"role": "system", "content": f"Never say {secret}."}, *hi]}),
        (chat, {"messages": hi, "metadata": {"who": secret}, "user": secret}),
        (chat, {"messages": [*hi, {"role": "assistant", "content": None, "tool_calls": [call]},
                             {"role": "tool", "tool_call_id": "call_1", "content": f"it is {secret}"}]}),
        (chat, {"messages": hi, "tools": [{"type": "function", "function": {"name": "f", "description": secret}}]}),
        ("/anthropic/v1/messages", {"max_tokens": 9, "system": secret, "messages": said_by_user(secret)}),
        ("/engines/v1/responses", {"instructions": secret, "input": f"say {secret}"}),
        ("/api/chat", {"messages": said_by_user(secret)}),
    ]  # fmt: skip
    return found


def ask_all(side: Side, secret: str, *, encoded: bool) -> list[tuple[int, str]]:
    headers = {"authorization": f"Bearer {side.keys['web']}", "x-api-key": secret.encode(), "x-note": secret.encode()}
    found = []
    with httpx.Client(base_url=side.url, headers=headers, timeout=60) as client:
        for path, body in questions(secret, encoded=encoded):
            answer = client.post(path, json={"model": "local/echo", **body})
            found.append((answer.status_code, answer.text))
    return found


def begin(side: Side, mode: str, echo: Echo, secret: str) -> None:
    (side.directory / "filed.txt").write_text(FILED)
    secrets = {"filed": "./filed.txt"}
    side.begin(mode, {"llm": echo.model}, environment={"SHOP_PASSWORD": secret}, secrets=secrets)


def texts_of_streams(lines: list[dict[str, Any]]) -> str:
    """Return what the pieces of all streams say, joined: a secret may be split over them."""
    return "\n".join("".join(str(piece[1]) for piece in line["answer"].get("pieces", ())) for line in lines)


def test_no_secret_is_in_any_byte_of_a_cassette_and_its_requests_replay(stage: Stage, echo: Echo) -> None:
    begin(stage.recording, "record", echo, SECRET)
    recorded = ask_all(stage.recording, SECRET, encoded=True)
    stage.recording.report()
    assert {status for status, _ in recorded} == {200}, recorded
    asked = len(echo.asked)

    begin(stage.replaying, "replay", echo, SECRET)
    replayed = ask_all(stage.replaying, SECRET, encoded=True)
    report = stage.replaying.report()

    assert report["misses"] == []
    assert [status for status, _ in replayed] == [status for status, _ in recorded]
    assert len(stage.lines()) == len(recorded)
    assert len(echo.asked) == asked
    assert_has_none(stage, report)


def test_a_request_replays_where_the_secret_has_another_value(stage: Stage, echo: Echo) -> None:
    begin(stage.recording, "record", echo, SECRET)
    ask_all(stage.recording, SECRET, encoded=False)
    stage.recording.report()

    begin(stage.replaying, "replay", echo, OTHER)
    replayed = ask_all(stage.replaying, OTHER, encoded=False)

    assert stage.replaying.report()["misses"] == []
    assert {status for status, _ in replayed} == {200}, replayed


def test_a_miss_tells_no_secret(stage: Stage, echo: Echo) -> None:
    begin(stage.recording, "record", echo, SECRET)
    client = stage.recording.openai().chat.completions
    client.create(model="local/echo", messages=[{"role": "user", "content": f"One {SECRET} two"}])
    stage.recording.report()

    begin(stage.replaying, "replay", echo, SECRET)
    headers = {"authorization": f"Bearer {stage.replaying.keys['web']}"}
    body = {"model": "local/echo", "messages": [{"role": "user", "content": f"One {SECRET} three {TOKEN}"}]}
    answer = httpx.post(f"{stage.replaying.url}/engines/v1/chat/completions", json=body, headers=headers)
    report = stage.replaying.report()

    assert answer.status_code == 422
    assert "three" in answer.text
    for form in forms(SECRET) | {TOKEN.encode()}:
        assert form not in answer.content
    assert_has_none(stage, report)


def assert_has_none(stage: Stage, report: dict[str, Any]) -> None:
    """No secret, no key and nothing of them is in a cassette, in a report, or in what streams say in pieces."""
    paths = [path for path in stage.cassettes.rglob("*") if path.is_file()]
    paths += [path for path in (stage.replaying.dmrc.home / "replays").rglob("*") if path.is_file()]
    contents = [path.read_bytes() for path in paths]
    contents += [json.dumps(report).encode(), texts_of_streams(stage.lines()).encode()]
    keys = [*stage.recording.keys.values(), *stage.replaying.keys.values(), "sk-dmrc-", TOKEN, "hunter2-hunter2", FILED]
    looked_for = forms(SECRET) | {key.encode() for key in keys}
    for path, content in zip([*paths, Path("report"), Path("streams")], contents, strict=True):
        assert [form for form in looked_for if form in content] == [], path
