"""The daemon's log: a line for each event, in words or as JSON, without anybody's words."""

from __future__ import annotations

import json
import subprocess

import pytest

from tests.dmrc_command import Dmrc
from tests.gateway.plugged import MODEL, Shop
from tests.polling import eventually

SECRET = "a whale of a secret"


def run(shop: Shop) -> None:
    """Load a model, ask it, be refused, and unload it."""
    shop.up()
    assert shop.ask({"messages": [{"role": "user", "content": SECRET}]})[0] == 200
    assert shop.ask({"model": "made/up\nINFO forged line"})[0] == 404
    shop.dmrc.ok("unload", MODEL)


def log_of(dmrc: Dmrc, *words: str) -> list[str]:
    """Return the daemon's log as soon as it says all of this, in any order."""

    def look() -> list[str] | None:
        text = dmrc.ok("logs")
        return text.splitlines() if all(each in text for each in words) else None

    return eventually(look, " and ".join(words))


def test_each_event_is_a_line_that_a_person_can_read(shop: Shop) -> None:
    run(shop)

    lines = log_of(shop.dmrc, "ended: unloaded", " 200, ", "forged line 404")

    (answered,) = [line for line in lines if " 200, " in line]
    assert "dmrc.events request " in answered
    assert "shop/web chat llm 200" in answered
    assert "→2 tokens" in answered
    (refused,) = [line for line in lines if "made/up" in line and "dmrc.events" in line]
    assert "\N{REPLACEMENT CHARACTER}INFO forged line 404" in refused, "a line of the log is one line"
    assert any("is ready after" in line for line in lines)
    assert any("project shop is up" in line for line in lines)
    assert SECRET not in "\n".join(lines)


def test_as_json_each_line_is_an_object_with_its_fields(shop: Shop) -> None:
    shop.dmrc.environment["DMRC_LOG_FORMAT"] = "json"
    run(shop)

    lines = [json.loads(line) for line in log_of(shop.dmrc, "runner_stopped", '"status": 200')]

    events = {line["event"]: line for line in lines if line["logger"] == "dmrc.events"}
    assert events.keys() >= {"request", "runner_started", "runner_stopped", "project_loaded"}
    (answered,) = [line for line in lines if line.get("status") == 200]
    assert (answered["project"], answered["service"], answered["model_key"]) == ("shop", "web", "llm")
    assert answered["completion_tokens"] == 2
    assert events["runner_stopped"]["reason"] == "unloaded"
    assert all({"time", "level", "logger", "message"} <= line.keys() for line in lines)
    assert SECRET not in json.dumps(lines)


@pytest.mark.parametrize("form", ["text", "json"])
def test_in_the_foreground_the_log_is_on_stderr(shop: Shop, form: str) -> None:
    """As JSON every line is an object: no word of the command stands between them."""
    dmrc = shop.dmrc
    dmrc.environment["DMRC_LOG_FORMAT"] = form
    with subprocess.Popen(
        [dmrc.program, "serve"], env=dmrc.environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        eventually(lambda: dmrc.run("status").returncode == 0, "daemon")
        run(shop)
        process.terminate()
        stdout, stderr = process.communicate(timeout=30)

    assert (process.returncode, stdout) == (0, "")
    lines = stderr.splitlines()
    if form == "text":
        assert f"dmrc serves http://127.0.0.1:{dmrc.port}/engines/v1; Ctrl+C ends it" in lines
        assert any("shop/web chat llm 200" in line for line in lines)
    else:
        events = [json.loads(line).get("event") for line in lines]
        assert set(events) >= {"request", "runner_started", "runner_stopped"}
    assert not (dmrc.home / "logs" / "daemon.log").exists()
