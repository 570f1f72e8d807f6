"""What is typed, against a conversation that a thread of ours answers."""

from __future__ import annotations

import json
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest

from dmrc.cli.serving.chat.conversation import Conversation, printable
from dmrc.cli.serving.chat.server import ChatServer
from dmrc.cli.serving.chat.session import ChatSession
from dmrc.errors import EngineError
from tests.serving import serving


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
    yield Conversation(ChatServer.gateway(1), "ai/model")


def test_settings_reach_the_request(conversation: Conversation) -> None:
    lines = ("/set system Be brief.", "/set parameter temperature 0.2", "/set parameter num_predict 8", "/bye")

    ChatSession(conversation, Typed(*lines)).run()

    assert conversation.system == "Be brief."
    assert conversation.parameters == {"temperature": 0.2, "max_tokens": 8}


def test_commands_say_what_they_know(conversation: Conversation, capsys: pytest.CaptureFixture[str]) -> None:
    ChatSession(
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
    ChatSession(conversation, Typed("Hi", "/show")).run()

    printed = capsys.readouterr()
    assert "the gateway broke off" in printed.err
    assert "model:   ai/model" in printed.out
    assert conversation.messages == []


def test_what_a_terminal_would_obey_is_not_printed() -> None:
    assert printable("a\x1b[31mb\x07\x9bc\td\ne") == "a[31mbc\td\ne"


class Answering(HTTPServer):
    """Answers every chat in two pieces, and keeps what was asked."""

    def __init__(self, line_end: bytes = b"\n", handler: type[BaseHTTPRequestHandler] | None = None) -> None:
        self.asked: list[str] = []
        self.line_end = line_end
        super().__init__(("127.0.0.1", 0), handler or _Handler)

    def conversation(self) -> Conversation:
        return Conversation(ChatServer(f"http://127.0.0.1:{self.server_port}"), "m")


class _Handler(BaseHTTPRequestHandler):
    server: Answering

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["content-length"])))
        self.server.asked.append(body["messages"][-1]["content"])
        self.send_response(200)
        self.end_headers()
        for word in ("Hello", " you"):
            event = b'data:{"choices": [{"delta": {"content": "%s"}}]}' % word.encode()
            self.wfile.write(event + self.server.line_end * 2)
        self.wfile.write(b"data: [DONE]" + self.server.line_end * 2)

    def log_message(self, *_arguments: object) -> None:
        """Say nothing."""


@pytest.mark.parametrize("line_end", [b"\n", b"\r\n", b"\r"])
def test_an_answer_is_read_however_the_server_ends_its_lines(line_end: bytes) -> None:
    """They were skipped without a word where no space follows `data:`."""
    with serving(server := Answering(line_end)):
        said = [piece.text for piece in server.conversation().ask("Hi")]

    assert "".join(said) == "Hello you"


def test_a_server_that_streams_nothing_is_read_too() -> None:
    class Handler(_Handler):
        def do_POST(self) -> None:
            self.send_response(200)
            self.send_header("content-type", "application/json")
            self.end_headers()
            self.wfile.write(b'{"choices": [{"message": {"role": "assistant", "content": "Hello"}}]}')

    with serving(server := Answering(handler=Handler)):
        assert [piece.text for piece in server.conversation().ask("Hi")] == ["Hello"]


@pytest.mark.parametrize(
    ("status", "body", "words"),
    [
        (200, b"<html>portal</html>", "answers, but not in the form of OpenAI's API. Check that it is the base URL"),
        (502, b"", "answers 502 Bad Gateway. Check that it is the base URL"),
        (403, b"blocked\x1b", "answers 403 Forbidden: blocked. Check that it is the base URL"),
        (404, b'{"error": {"message": "no such model"}}', "no such model"),
    ],
)
def test_what_answers_and_is_no_such_server_is_told(status: int, body: bytes, words: str) -> None:
    class Handler(_Handler):
        def do_POST(self) -> None:
            self.send_response(status)
            self.end_headers()
            self.wfile.write(body)

    with serving(server := Answering(handler=Handler)), pytest.raises(EngineError) as caught:
        list(server.conversation().ask("Hi"))

    assert words in str(caught.value)


def test_what_is_typed_is_asked_as_text_and_a_path_is_no_command() -> None:
    """A terminal hands over bytes that are not UTF-8 as lone surrogates, which JSON cannot hold."""
    with serving(server := Answering()):
        ChatSession(
            server.conversation(), Typed("caf\udce9", "/nowhere/cat.png: what is it?", '"""a', 'b\udcff"""')
        ).run()

    assert server.asked == ["caf\ufffd", "/nowhere/cat.png: what is it?", "a\nb\ufffd"]
