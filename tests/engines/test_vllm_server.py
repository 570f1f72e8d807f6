"""A vLLM whose engine process has ended: it still answers, and no answer of it counts."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping

import pytest

from dmrc.answer import Answer
from dmrc.engines.vllm.server import VllmSession
from dmrc.streaming import Sink, chunks_of

# Recorded of vLLM 0.32 whose process VLLM::EngineCore was killed.
WORDS = b"EngineCore encountered an issue. See stack trace (above) for the root cause."
ERROR = b'{"error": {"message": "%b", "type": "InternalServerError", "param": null, "code": 500}}'
DEAD = ERROR % WORDS
FIRST, DONE = b'data: {"choices":[{"text":" ba"}]}\n\n', b"data: [DONE]\n\n"


class Told:
    """An answer of these chunks."""

    def __init__(self, status: int, content_type: str, *chunks: bytes) -> None:
        self.status, self.headers = status, {"content-type": content_type}
        self._chunks = chunks

    replica = None

    async def into(self, sink: Sink) -> None:
        for chunk in self._chunks:
            sink.take(chunk)

    def __aiter__(self) -> AsyncIterator[bytes]:
        return chunks_of(self.into)

    def close(self) -> None: ...


class OneAnswer:
    """A session of a server that has one answer."""

    model = None

    def __init__(self, answer: Answer) -> None:
        self._answer = answer

    async def post(self, path: str, headers: Mapping[str, str], body: bytes) -> Answer:
        return self._answer

    async def get(self, path: str) -> Answer:
        return self._answer

    async def close(self) -> None: ...


def ask(answer: Answer) -> tuple[bytes, bool, bool]:
    """Return what came of an answer, whether it broke off, and whether the server was ended."""
    ended: list[bool] = []
    came = bytearray()

    async def run() -> bool:
        session = VllmSession(OneAnswer(answer), lambda: ended.append(True))
        try:
            async for chunk in await session.post("/v1/completions", {}, b""):
                came.extend(chunk)
        except ConnectionError as error:
            assert str(error) == "vLLM's engine process has ended"
            return True
        return False

    broke = asyncio.run(run())
    return bytes(came), broke, bool(ended)


@pytest.mark.parametrize("size", [1, 7, 40, 1000])
def test_a_stream_breaks_off_where_the_engine_has_ended_and_is_not_done(size: int) -> None:
    told = FIRST + b"data: " + DEAD + b"\n\n" + DONE
    chunks = [told[start : start + size] for start in range(0, len(told), size)]

    assert ask(Told(200, "text/event-stream; charset=utf-8", *chunks)) == (FIRST, True, True)


def test_a_server_without_an_engine_is_ended_in_place_of_an_answer() -> None:
    assert ask(Told(500, "application/json", DEAD)) == (b"", True, True)


@pytest.mark.parametrize(
    "answer",
    [
        (500, "application/json", ERROR % b"something else"),
        (400, "application/json", ERROR % WORDS),
        (200, "application/json", b'{"choices":[{"text":"data: {\\"error\\" EngineCore encountered an issue"}]}'),
        (200, "text/event-stream", b'data: {"choices":[{"text":"data: {\\"error\\" %b"}]}\n\n' % WORDS + DONE),
        (200, "text/event-stream", FIRST + b"data: " + ERROR % b"something else" + b"\n\n" + DONE),
        (200, "text/event-stream", FIRST + b"data: cut"),
    ],
)
def test_other_answers_come_as_they_are(answer: tuple[int, str, bytes]) -> None:
    status, content_type, body = answer

    assert ask(Told(status, content_type, body)) == (body, False, False)
