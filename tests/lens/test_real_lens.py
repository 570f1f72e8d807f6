"""The lens before a real engine: planted differences are named where they are, and none where the cache worked."""

from __future__ import annotations

import json
import re
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from dmrc.capture.database import ExchangeDatabase
from dmrc.lens.look import CacheLook
from dmrc.lens.record import look
from tests.dmrc_command import Dmrc, temporary_dmrc
from tests.lens.planted import CHAT, GENERATE, OLLAMA_CHAT, RESPONSES, RULES, Body, Planted, chat, controls, planted
from tests.polling import eventually
from tests.tiny_gguf import write_tiny_llama

MODEL = "local/tiny"
TEMPLATE = (
    "{% if persona is defined %}<|{{ persona }}|>\n{% endif %}"
    "{% if messages[0]['role'] == 'system' %}<|system|>{{ messages[0]['content'] }}\n{% endif %}"
    "{% if tools %}{% for tool in tools %}{{ tool | tojson }}\n{% endfor %}{% endif %}"
    "{% for message in messages %}{% if message['role'] != 'system' %}<|{{ message['role'] }}|>"
    "{{ message['content'] or '' }}"
    "{% if message.tool_calls %}{% for call in message.tool_calls %}<tool_call>"
    '{"name": "{{ call.function.name }}", "arguments": {{ call.function.arguments | tojson }}}</tool_call>{% endfor %}'
    "{% endif %}\n{% endif %}{% endfor %}"
    "{% if add_generation_prompt %}<|assistant|>{% endif %}"
)


@dataclass(frozen=True)
class Lens:
    """A dmrc with a tiny model, and its record."""

    dmrc: Dmrc
    database: ExchangeDatabase

    def ask(self, path: str, body: Body, **headers: str) -> str:
        """Send a request; return the id of its exchange, once it is on record."""
        limit = {RESPONSES: "max_output_tokens"}.get(path, "max_tokens")
        limits = {"options": {"num_predict": 4}} if path in (OLLAMA_CHAT, GENERATE) else {limit: 4}
        whole = {"model": MODEL, "stream": False, **limits, **body}
        request = urllib.request.Request(
            f"http://127.0.0.1:{self.dmrc.port}{path}",
            json.dumps(whole).encode(),
            {"content-type": "application/json", **headers},
        )
        with urllib.request.urlopen(request) as answer:
            answer.read()
            id = str(answer.headers["x-dmrc-exchange-id"])
        eventually(lambda: _has(self.database, id), "the record")
        return id

    def look(self, id: str) -> CacheLook:
        found = look(self.database, self.database.get(id))
        assert found is not None
        return found


def _has(database: ExchangeDatabase, id: str) -> bool:
    newest = database.latest()
    return newest is not None and newest.id == id


@pytest.fixture(scope="module")
def lens(tmp_path_factory: pytest.TempPathFactory, needs_engine: None) -> Iterator[Lens]:
    directory = tmp_path_factory.mktemp("lens")
    gguf = write_tiny_llama(directory / "tiny.gguf", context_length=8192, chat_template=TEMPLATE)
    with temporary_dmrc() as dmrc:
        dmrc.ok("package", "--gguf", gguf, "--context-size", "8192", MODEL)
        dmrc.ok("run", "--detach", MODEL)
        yield Lens(dmrc, ExchangeDatabase(dmrc.home / "exchanges.sqlite3"))


@pytest.mark.parametrize("case", planted(), ids=lambda case: case.name)
def test_a_planted_difference_is_named_where_it_is(lens: Lens, case: Planted) -> None:
    before = lens.ask(case.path, case.before)

    seen = lens.look(lens.ask(case.path, case.now))

    assert seen.former == before
    assert seen.cause == case.kind
    assert seen.difference is not None
    assert seen.difference.piece.place == case.place
    assert seen.difference.at == case.at
    assert seen.difference.begins == (case.at if case.begins is None else case.begins)
    assert seen.again is not None and 0 < seen.again <= (seen.computed or 0)


@pytest.mark.parametrize("case", controls(), ids=lambda case: case.name)
def test_the_lens_is_silent_where_the_cache_worked(lens: Lens, case: Planted) -> None:
    lens.ask(case.path, case.before)

    seen = lens.look(lens.ask(case.path, case.now))

    assert seen.former is not None
    assert (seen.cause, seen.difference, seen.again) == (None, None, 0)


def test_a_parameter_that_changes_the_template_is_named(lens: Lens) -> None:
    first = chat(f"Of pirates. {RULES}", "Who are you?")
    lens.ask(CHAT, first)

    seen = lens.look(lens.ask(CHAT, {**first, "chat_template_kwargs": {"persona": "pirate"}}))

    assert (seen.cause, seen.detail, seen.difference) == ("parameter", "chat_template_kwargs", None)


def test_a_model_that_was_unloaded_between_is_told(lens: Lens) -> None:
    lens.ask(CHAT, chat(f"Of rest. {RULES}", "Who is there?"))
    lens.dmrc.ok("unload", MODEL)

    seen = lens.look(lens.ask(CHAT, chat(f"Of rest. {RULES}", "Who is there?", "Nobody.", "And now?")))

    assert (seen.cached, seen.cause) == (0, "unloaded")
    assert seen.again is not None and seen.again > 400


def test_commands_tell_of_a_service_whose_system_message_has_a_clock(lens: Lens) -> None:
    key = lens.dmrc.ok("key", "create", "--name", "clocked").strip()
    quiet = lens.dmrc.ok("key", "create", "--name", "quiet").strip()
    for minute, question in enumerate(("Which cats?", "How so?", "Why at all?", "Who said it?", "And the hens?")):
        system = f"You help people who ask. It is 2026-11-28 17:0{minute}. {RULES}"
        id = lens.ask(CHAT, chat(system, question), authorization=f"Bearer {key}")
        lens.ask(CHAT, chat(f"You are quiet. {RULES}", question), authorization=f"Bearer {quiet}")

    shown, advice = lens.dmrc.ok("requests", "show", id), lens.dmrc.ok("advise", "--service", "clocked")
    document = json.loads(lens.dmrc.ok("requests", "show", id, "--json"))["prompt_cache"]
    services = json.loads(lens.dmrc.ok("advise", "--json"))["prompt_cache"]

    assert "The system message changes at character 32: a clock." in shown
    assert "Message 1 (system) differs first at character 47" in shown
    assert "now:    '…lp people who ask. It is 2026-11-28 17:04. Rule 0" in shown
    assert "The system message changes at character 32 in every request: a clock." in advice
    assert re.search(r"[67]\d % of 2,3\d\d prompt tokens in 5 requests were computed again", advice)
    assert (document["cause"], document["difference"]["at"], document["difference"]["begins"]) == ("clock", 46, 31)
    assert document["cached_tokens"] + document["computed_tokens"] == document["prompt_tokens"]
    by_name = {one["service"]: one for one in services}
    assert (by_name["quiet"]["causes"], by_name["quiet"]["computed_again_tokens"]) == ([], 0)
    assert by_name["clocked"]["causes"][0]["requests"] == by_name["clocked"]["compared_requests"] == 4
