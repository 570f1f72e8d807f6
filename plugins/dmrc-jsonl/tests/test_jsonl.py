"""The plugin by itself: what a line holds. dmrc's own tests run it in a daemon."""

import json
import stat
from pathlib import Path

import pytest

from dmrc import Exchange
from dmrc.hooks.plugins import Plugins
from dmrc.project import LocalPlugin

FILE = Path(__file__).parent.parent / "dmrc_jsonl.py"
EXCHANGE = Exchange(
    id="1",
    method="POST",
    path="/v1/chat/completions",
    operation="chat",
    received_at=1.5,
    service="web",
    request_body=b'{"messages": [{"role": "user", "content": "\xc3\xa9t\xc3\xa9\\n"}]}',
    response_body=b"data: {}\n\ndata: [DONE]\n\n",
    request_headers={"user-agent": "test"},
    annotations={"team": "search"},
)


@pytest.fixture
def lines(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[dict[str, object]]:
    """Tell the plugin of an exchange twice, and return what it wrote."""
    monkeypatch.setenv("DMRC_JSONL", str(tmp_path / "log.jsonl"))
    plugins = Plugins()
    assert plugins.load_local("shop", LocalPlugin.of(FILE)).state == "loaded"
    (completed,) = plugins.implementations("dmrc_exchange_completed", ("shop",))
    completed({"exchange": EXCHANGE})
    completed({"exchange": EXCHANGE})
    return [json.loads(text) for text in (tmp_path / "log.jsonl").read_text().splitlines()]


def test_a_line_holds_what_is_known_and_bodies_as_they_can_be_read(lines: list[dict[str, object]]) -> None:
    assert len(lines) == 2
    assert lines[0] == lines[1]
    assert lines[0]["service"] == "web"
    assert lines[0]["request"] == {"messages": [{"role": "user", "content": "été\n"}]}
    assert lines[0]["response"] == "data: {}\n\ndata: [DONE]\n\n"
    assert lines[0]["annotations"] == {"team": "search"}
    assert lines[0]["request_headers"] == {"user-agent": "test"}
    assert "status" not in lines[0]


def test_nobody_else_may_read_the_file(lines: list[dict[str, object]], tmp_path: Path) -> None:
    assert stat.S_IMODE((tmp_path / "log.jsonl").stat().st_mode) == 0o600
