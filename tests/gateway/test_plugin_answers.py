"""Answers that plugins give in pieces, and that they break off, through a real daemon; no model is asked."""

import http.client
import json
from collections.abc import Iterator

import pytest

from tests.gateway.plugged import MODEL, Shop, notes
from tests.polling import eventually

pytestmark = pytest.mark.engine

ANSWERS = """
import pathlib
from dmrc import AnswerCut, StandIn
NOTES = pathlib.Path(__file__).with_suffix(".jsonl")

def note(what):
    with NOTES.open("a") as file:
        file.write('["body", {"end": "' + what + '"}]\\n')

async def pieces(kind):
    try:
        yield b"data: one\\n\\n"
        if kind == "hangs":
            await asyncio.sleep(60)
        if kind == "cut":
            raise AnswerCut("enough")
        if kind == "fails":
            raise ValueError("a secret reason")
        yield b"data: [DONE]\\n\\n"
        note("whole")
    except GeneratorExit:
        note("closed")
        raise
    except asyncio.CancelledError:
        note("cancelled")
        raise

@hookimpl
async def dmrc_request(request):
    kind = request.body["user"]
    if kind == "whole":
        headers = {"content-type": "application/json", "content-length": "25", "x-of-plugin": "yes"}
        return Response(body=pieces(kind), headers=headers)
    whose = StandIn(engine="cache", model_reference="ai/other", model_key="llm")
    return Response(body=pieces(kind), headers={"content-type": "text/event-stream"}, stands_in=whose)

@hookimpl
async def dmrc_response_stream(stream, answered_by):
    async for chunk in stream:
        yield chunk.replace(b"one", answered_by.encode())
"""


@pytest.fixture
def answering(shop: Shop) -> Iterator[Shop]:
    shop.plugin("answers", ANSWERS)
    shop.up()
    yield shop


def ask(shop: Shop, kind: str) -> http.client.HTTPResponse:
    connection = http.client.HTTPConnection("127.0.0.1", shop.dmrc.port)
    body = {"model": MODEL, "messages": [], "stream": True, "user": kind}
    connection.request("POST", "/v1/chat/completions", json.dumps(body), {"authorization": f"Bearer {shop.key}"})
    return connection.getresponse()


def test_a_plugin_answers_in_pieces_and_breaks_off(answering: Shop) -> None:
    streamed, whole, cut, failed = (ask(answering, kind) for kind in ("stream", "whole", "cut", "fails"))

    assert streamed.read() == b"data: answers\n\ndata: [DONE]\n\n"
    assert streamed.headers["transfer-encoding"] == "chunked"
    assert (whole.headers["content-length"], whole.headers["x-of-plugin"]) == ("29", "yes")  # a filter changed it
    assert whole.read() == b"data: answers\n\ndata: [DONE]\n\n"
    assert json.loads(cut.read().split(b"data: ")[-1])["error"]["message"] == "enough"
    assert b"plugin 'answers' broke its answer off" in (text := failed.read())
    assert b"secret" not in text
    assert b"DONE" not in text
    assert "ValueError: a secret reason" in answering.dmrc.ok("logs")
    (errors,) = (each["errors"] for each in answering.states().values())
    assert errors == 1


def test_pieces_end_when_the_caller_hangs_up(answering: Shop) -> None:
    hanging = ask(answering, "hangs")
    hanging.read(10)

    hanging.close()

    eventually(lambda: notes(answering.plugins["answers"]) in ([("body", {"end": "cancelled"})],))
    (exchange,) = json.loads(answering.dmrc.ok("requests", "--json"))
    assert (exchange["client_disconnected"], exchange["annotations"]["answered_by"]) == (True, "answers")
    assert [exchange[name] for name in ("engine", "model_reference", "model_key")] == ["cache", "ai/other", "llm"]
