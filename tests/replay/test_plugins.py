"""Plugins of a project beside its cassettes: what they change is recorded, and not changed again in a replay."""

from __future__ import annotations

import pytest

from tests.hooks.written import write
from tests.replay.echoing import Echo
from tests.replay.stage import Side, Stage

pytestmark = pytest.mark.process

CHANGES = """
from dataclasses import replace

@hookimpl
def dmrc_request(request):
    messages = [{"role": "system", "content": "Be brief."}, *request.body["messages"]]
    return replace(request, body={**request.body, "messages": messages})

@hookimpl
async def dmrc_response_stream(exchange, stream):
    async for chunk in stream:
        yield chunk.replace(b"whale", b"WHALE, a whale")
"""
MASKS = """
from dmrc import mask

@hookimpl
def dmrc_filter_capture(exchange):
    return mask(exchange, patterns=[r"Bob|Alice"])
"""
REFUSES = """
@hookimpl
def dmrc_filter_capture(exchange):
    return None
"""


def say(side: Side, words: str, *, stream: bool = False) -> str:
    chats = side.openai().chat.completions
    messages = [{"role": "user", "content": words}]
    if not stream:
        return chats.create(model="local/echo", messages=messages).choices[0].message.content or ""
    chunks = chats.create(model="local/echo", messages=messages, stream=True)
    return "".join(chunk.choices[0].delta.content or "" for chunk in chunks)


def begin(side: Side, mode: str, echo: Echo, plugin: str) -> None:
    write(side.directory / "plugin.py", plugin)
    side.begin(mode, {"llm": echo.model}, plugins=["./plugin.py"])


def test_what_plugins_change_is_replayed_once_changed(stage: Stage, echo: Echo) -> None:
    begin(stage.recording, "record", echo, CHANGES)
    recorded = [say(stage.recording, "a whale"), say(stage.recording, "the whale", stream=True)]
    stage.recording.report()
    assert recorded[0] == "1: a WHALE, a whale"
    assert [line["request"]["body"]["messages"][0]["content"] for line in stage.lines()] == ["Be brief."] * 2

    begin(stage.replaying, "replay", echo, CHANGES)

    assert [say(stage.replaying, "a whale"), say(stage.replaying, "the whale", stream=True)] == recorded


def test_what_a_plugin_masks_is_in_no_cassette_and_replays(stage: Stage, echo: Echo) -> None:
    begin(stage.recording, "record", echo, MASKS)
    assert say(stage.recording, "I am Bob") == "1: I am Bob"
    stage.recording.report()
    assert b"Bob" not in (stage.cassettes / "web.jsonl").read_bytes()

    begin(stage.replaying, "replay", echo, MASKS)

    assert say(stage.replaying, "I am Bob") == say(stage.replaying, "I am Alice") == "1: I am [redacted]"


def test_what_a_plugin_keeps_out_of_the_record_is_in_no_cassette_and_reported(stage: Stage, echo: Echo) -> None:
    begin(stage.recording, "record", echo, REFUSES)

    say(stage.recording, "not for the record")

    service = stage.recording.report()["services"]["web"]
    assert service["recorded"] == 0
    assert sum(service["left_out"].values()) == 1


@pytest.mark.parametrize("level", ["off", "metadata"])
def test_a_project_without_content_in_its_record_cannot_be_recorded(stage: Stage, echo: Echo, level: str) -> None:
    with pytest.raises(AssertionError, match=f"x-dmrc.capture is '{level}'"):
        stage.recording.begin("record", {"llm": echo.model}, capture=level)
