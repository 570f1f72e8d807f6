"""`dmrc run` with the real model: asked once, piped, and typed on a terminal."""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pexpect
import pytest

from tests.dmrc_command import Dmrc, temporary_dmrc
from tests.polling import eventually
from tests.tiny_gguf import write_tiny_llama

MODEL = "local/smollm2"
TINY = "local/tiny"


@pytest.fixture(scope="module")
def chatty(smollm2: Path, tmp_path_factory: pytest.TempPathFactory, needs_engine: None) -> Iterator[Dmrc]:
    """A dmrc with the real model, which stays loaded over the tests."""
    with temporary_dmrc() as dmrc:
        dmrc.ok("package", "--gguf", smollm2, "--context-size", "512", MODEL)
        tiny = write_tiny_llama(tmp_path_factory.mktemp("gguf") / "tiny.gguf")
        dmrc.ok("package", "--gguf", tiny, "--context-size", "256", TINY)
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


def asked(dmrc: Dmrc) -> list[str]:
    """Return the contents of the messages of the last request."""
    last = json.loads(dmrc.ok("requests", "--json", "-n", "1"))[0]["id"]
    body = json.loads(dmrc.ok("requests", "show", "--json", last))["request_body"]
    return [message["content"] for message in json.loads(body)["messages"]]


def test_bytes_that_are_not_utf8_are_replaced(chatty: Dmrc) -> None:
    """In an argument, an instruction and what is piped in, in whatever locale."""
    command = [chatty.program, "run", "--system", b"Br\xe8ve.", TINY, b"Repeat caf\xe9"]
    for locale in ("C", "C.UTF-8", "en_US.UTF-8"):
        environment = {**chatty.environment, "LC_ALL": locale}
        done = subprocess.run(command, env=environment, input=b"ol\xe9 \x00\n", capture_output=True, timeout=120)

        assert (done.returncode, done.stderr) == (0, b"")
        assert done.stdout.strip()
    system, question = asked(chatty)
    assert system == "Br\ufffdve."
    assert question.startswith("Repeat caf\ufffd\n\nol\ufffd")


@pytest.mark.parametrize("beside", [[], ["Sum up:"]])
def test_what_is_piped_in_names_no_file(chatty: Dmrc, tmp_path: Path, beside: list[str]) -> None:
    """Text from elsewhere must not say which files of this machine a server is sent."""
    (tmp_path / "private.txt").write_text("the secret of this machine")

    done = chatty.run("run", TINY, *beside, input=f"@{tmp_path}/private.txt @private.txt @app.get('/x')", cwd=tmp_path)

    assert done.returncode == 0, done.stderr
    assert asked(chatty) == ["\n\n".join([*beside, f"@{tmp_path}/private.txt @private.txt @app.get('/x')"])]


def test_a_file_that_the_words_name_is_sent(chatty: Dmrc, tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("the colour is red")

    done = chatty.run("run", TINY, "Sum", "up", "@notes.txt", "and @angular/core", cwd=tmp_path)

    assert done.returncode == 0, done.stderr
    assert asked(chatty) == ["Sum up \nnotes.txt:\n```\nthe colour is red\n```\n and @angular/core"]


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
    typed.sendline("/set parameter ignore_eos true")  # else it ends when the model likes
    typed.expect(">>> ")
    typed.sendline("Tell me a very long story about the sea.")
    daemon = chatty.daemon_client()  # a command takes as long as some answers
    eventually(lambda: any(runner["in_use"] for runner in daemon.runners()), "an answer that runs")
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


def test_answers_can_go_to_a_file_and_the_prompt_stays_on_the_terminal(chatty: Dmrc, tmp_path: Path) -> None:
    answers = tmp_path / "answers"
    line = f"exec {chatty.program} run {TINY} > {answers}"
    environment = {**chatty.environment, "TERM": "xterm"}
    with pexpect.spawn("/bin/sh", ["-c", line], env=environment, encoding="utf-8", timeout=60) as typed:
        for text in ("/set parameter max_tokens 4", "Hi", "/bye"):
            typed.expect(">>> ")
            typed.sendline(text)
        typed.expect(pexpect.EOF)

    assert answers.read_text().strip()
    assert not {">", "\x1b"} & set(answers.read_text())
