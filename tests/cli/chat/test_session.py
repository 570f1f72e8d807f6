"""What is typed, against a conversation that a thread of ours answers."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from dmrc.cli.chat.conversation import Conversation, printable
from dmrc.cli.chat.server import Server
from dmrc.cli.chat.session import Session


class Typed:
    """Types lines; an exception is raised as the keyboard would."""

    def __init__(self, *lines: str | type[BaseException]) -> None:
        self._lines = iter(lines)

    def __call__(self, _prompt: str) -> str:
        line = next(self._lines, EOFError)
        if isinstance(line, str):
            return line
        raise line


@pytest.fixture
def conversation() -> Iterator[Conversation]:
    """A conversation whose gateway does not exist: nothing here asks it."""
    yield Conversation(Server.gateway(1), "ai/model")


def test_settings_reach_the_request(conversation: Conversation) -> None:
    lines = ("/set system Be brief.", "/set parameter temperature 0.2", "/set parameter num_predict 8", "/bye")

    Session(conversation, Typed(*lines)).run()

    assert conversation.system == "Be brief."
    assert conversation.parameters == {"temperature": 0.2, "max_tokens": 8}


def test_commands_say_what_they_know(conversation: Conversation, capsys: pytest.CaptureFixture[str]) -> None:
    Session(
        conversation, Typed("/?", "/show", "/nonsense", "/set nonsense", "/set num_ctx 8192", KeyboardInterrupt)
    ).run()

    printed = capsys.readouterr()
    assert "/set parameter NAME VALUE" in printed.out
    assert "model:   ai/model" in printed.out
    assert "unknown command '/nonsense'. Type /? for help" in printed.err
    assert "'/set nonsense' says nothing" in printed.err
    assert "dmrc configure --context-size 8192 ai/model" in printed.err
    assert "Use Ctrl+D or /bye to leave." in printed.err


def test_a_gateway_that_is_away_is_an_error_and_the_session_goes_on(
    conversation: Conversation, capsys: pytest.CaptureFixture[str]
) -> None:
    Session(conversation, Typed("Hi", "/show")).run()

    printed = capsys.readouterr()
    assert "the gateway broke off" in printed.err
    assert "model:   ai/model" in printed.out
    assert conversation.messages == []


def test_what_a_terminal_would_obey_is_not_printed() -> None:
    assert printable("a\x1b[31mb\x07\x9bc\td\ne") == "a[31mbc\td\ne"
