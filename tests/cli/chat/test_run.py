"""`dmrc run` with the real model: asked once, piped, and typed on a terminal."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path

import pexpect
import pytest

from tests.dmrc_command import Dmrc, temporary_dmrc
from tests.polling import eventually

pytestmark = pytest.mark.engine

MODEL = "local/smollm2"


@pytest.fixture(scope="module")
def chatty(smollm2: Path) -> Iterator[Dmrc]:
    """A dmrc with the real model, which stays loaded over the tests."""
    with temporary_dmrc() as dmrc:
        dmrc.ok("package", "--gguf", smollm2, "--context-size", "512", MODEL)
        yield dmrc


@pytest.fixture
def typed(chatty: Dmrc) -> Iterator[pexpect.spawn[str]]:
    """A conversation on a terminal."""
    child = pexpect.spawn(
        str(chatty.program),
        ["run", MODEL],
        env={**chatty.environment, "TERM": "xterm"},
        encoding="utf-8",
        timeout=60,
        dimensions=(40, 100),
    )
    child.expect(">>> ")
    yield child
    child.close(force=True)


def test_one_question_gets_one_answer(chatty: Dmrc) -> None:
    done = chatty.run("run", "--verbose", "--system", "You are brief.", MODEL, "Say", "hello.")

    assert done.returncode == 0, done.stderr
    assert len(done.stdout.strip()) > 1
    assert re.search(r"\(\d+ tokens in, \d+ out, \d+ tokens/s\)", done.stderr)


def test_what_is_piped_in_is_part_of_the_question(chatty: Dmrc) -> None:
    done = chatty.run("run", "--json", MODEL, "What colour is it?", input="The car is red.\n")

    document = json.loads(done.stdout)
    assert document["content"]
    asked = json.loads(chatty.ok("requests", "--json", "-n", "1"))[0]
    assert asked["user_agent"] == "dmrc-run"
    assert asked["prompt_tokens"] == document["usage"]["prompt_tokens"]


def test_detach_loads_and_asks_nothing(chatty: Dmrc) -> None:
    chatty.ok("unload", "--all")
    before = chatty.ok("requests", "--json")

    chatty.ok("run", "--detach", MODEL)

    assert [runner["state"] for runner in json.loads(chatty.ok("ps", "--json"))] == ["ready"]
    assert chatty.ok("requests", "--json") == before


def test_a_conversation_remembers_what_was_said(chatty: Dmrc, typed: pexpect.spawn[str]) -> None:
    # So small a model may go on until its context is full, which takes a busy machine longer than a test waits.
    for text in ("/set parameter max_tokens 40", "My name is Ada.", '"""What is', 'my name?"""'):
        typed.sendline(text)
        typed.expect(r"(>>> |\.\.\. )")
    typed.sendline("/bye")
    typed.expect(pexpect.EOF)

    latest = json.loads(chatty.ok("requests", "--json", "-n", "2"))
    tokens = sorted(int(each["prompt_tokens"]) for each in latest)
    assert tokens[1] > tokens[0]


def test_ctrl_c_ends_an_answer_and_not_the_conversation(chatty: Dmrc, typed: pexpect.spawn[str]) -> None:
    typed.sendline("Tell me a very long story about the sea.")
    eventually(lambda: any(runner["in_use"] for runner in json.loads(chatty.ok("ps", "--json"))), "an answer that runs")
    typed.sendintr()
    typed.expect(">>> ")
    typed.sendline("/bye")
    typed.expect(pexpect.EOF)

    def cancelled() -> bool:
        return json.loads(chatty.ok("requests", "--json", "-n", "1"))[0]["client_disconnected"]

    assert eventually(cancelled, "the record of a cancelled request")


def test_the_history_is_private(chatty: Dmrc, typed: pexpect.spawn[str]) -> None:
    typed.sendline("/show")
    typed.expect("system: ")
    typed.sendline("/bye")
    typed.expect(pexpect.EOF)

    history = chatty.home / "chat_history"
    assert history.stat().st_mode & 0o777 == 0o600
    assert "/show" in history.read_text()
