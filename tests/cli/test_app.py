"""What commands share."""

import json
import urllib.request

import pytest

from dmrc.capture.queries import ExchangeFilter
from dmrc.cli.app import App
from dmrc.hooks.plugins import Plugins
from dmrc.settings import Settings
from tests.dmrc_command import Dmrc


@pytest.mark.engine
def test_a_request_is_in_the_record_as_soon_as_it_is_answered(dmrc: Dmrc, tiny: str) -> None:
    """In this process, for the start of a command would give the daemon time to write."""
    app = App(Settings.from_environment(dmrc.environment), Plugins(()))
    dmrc.ok("run", "--detach", tiny)
    body = json.dumps({"model": tiny, "messages": [{"role": "user", "content": "Hi"}], "max_tokens": 1}).encode()
    request = urllib.request.Request(f"http://127.0.0.1:{dmrc.port}/v1/chat/completions", body)

    with urllib.request.urlopen(request, timeout=60) as answer:
        answer.read()
        exchange = answer.headers["x-dmrc-exchange-id"]

    assert [one.id for one in app.record.page(ExchangeFilter(), 10)] == [exchange]
