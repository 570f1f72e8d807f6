"""What is changed in answers of engines, wherever the network has cut them."""

from __future__ import annotations

import asyncio

import pytest

from dmrc.answer import Answer, WrappedAnswer
from dmrc.dialects.chat.engine_errors import UNPARSED
from dmrc.gateway.inference.engine_answers import NamedAnswer, ParsedAnswer
from dmrc.streaming import Gathered, Sink, beginning

CALLED = b'data: {"choices":[{"delta":{"tool_calls":[{"index":0}]}}]}\n\n'
FAILED = b'data: {"error":{"code":500,"message":"%b"}}\n\n' % UNPARSED
WORDS = b'data: {"choices":[{"delta":{},"finish_reason":"stop"}]}\n\ndata: [DONE]\n\n'


class Cut(WrappedAnswer):
    """An answer in these pieces."""

    def __init__(self, content_type: str, *pieces: bytes) -> None:
        self.status, self.headers = 200, {"content-type": content_type}
        self._pieces = [*pieces]

    def close(self) -> None: ...

    async def into(self, sink: Sink) -> None:
        while self._pieces:
            sink.take(self._pieces.pop(0))


@pytest.mark.parametrize("at", range(1, len(FAILED)))
def test_calls_that_are_none_are_noticed_wherever_the_answer_is_cut(at: int) -> None:
    end = WORDS.index(b'"stop"') + at % 6

    async def again() -> Answer:
        return Cut("text/event-stream", WORDS[:end], WORDS[end:])

    answer = ParsedAnswer(Cut("text/event-stream", CALLED, FAILED[:at], FAILED[at:]), again)
    body, _ = asyncio.run(beginning(answer.into, 1 << 20))

    assert body == CALLED + WORDS.replace(b'"stop"', b'"tool_calls"')


@pytest.mark.parametrize("content_type", ["application/json", "text/event-stream"])
def test_what_was_held_at_the_end_is_given_once(content_type: str) -> None:
    """Who reads the beginning of an answer, and then the rest, may have enough just when the rest comes."""
    whole = b'{"data":"' + b"a" * 9_000

    async def story() -> bytes:
        answer, rest = NamedAnswer(Cut(content_type, whole), b'"llm"'), Gathered(1 << 20)
        body, is_whole = await beginning(answer.into, len(whole) - 1)
        if not is_whole:
            await answer.into(rest)
        return body + rest.body()

    assert asyncio.run(story()) == whole
