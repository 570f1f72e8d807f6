"""What the daemon and a stream process tell each other."""

from __future__ import annotations

import asyncio
import os
import re
import socket
from pathlib import Path

import pytest

from dmrc.answer import WrappedAnswer
from dmrc.dialects.dialect import Call, RequestClock
from dmrc.dialects.table import DIALECTS
from dmrc.dialects.translation import Translation
from dmrc.engines.http_client.connection_options import ConnectionOptions
from dmrc.errors import BusyError
from dmrc.gateway.inference.engine_answers import NamedAnswer
from dmrc.gateway.streams.channel import Channel
from dmrc.gateway.streams.frames import Outcome, Passed, StreamOrder
from dmrc.gateway.streams.processes import usual_count

ASKED = {
    "chat": {"messages": [{"role": "user", "content": "Tell me of the whale."}], "max_tokens": 9},
    "completion": {"prompt": "Tell me of the whale."},
    "response": {"input": "Tell me of the whale."},
}
EVENTS = (
    b'data: {"choices":[{"index":0,"delta":{"role":"assistant","content":"A whale"}}],"model":"m"}\n\n',
    b'data: {"choices":[{"index":0,"delta":{},"finish_reason":"stop"}],"usage":{"completion_tokens":2}}\n\n',
    b"data: [DONE]\n\n",
)


class Streamed(WrappedAnswer):
    """The head of a stream."""

    def __init__(self) -> None:
        self.headers = {"content-type": "text/event-stream"}
        self.status = 200


ROUTES = {
    path: route
    for dialect in DIALECTS
    for path, route in dialect.routes().items()
    if route.operation in ("chat", "completion", "response")
}
_NOW = re.compile(rb'"(created_at|completed_at|total_duration)": ?[^,}]+')


@pytest.mark.parametrize("path", ROUTES)
def test_each_dialect_says_a_stream_in_another_process_as_it_does_here(path: str) -> None:
    call = ROUTES[path].call({"model": "m", "stream": True, **ASKED[ROUTES[path].operation]}, b"", None)
    assert isinstance(call, Call)
    _, names = NamedAnswer(Streamed(), b'"m"').at_its_source()
    translation = (Translation(call.reply, call.fixes, RequestClock(0, 0)),) if call.reply else ()
    order = StreamOrder(1.0, b"HTTP/1.1 200 OK\r\n\r\n", ConnectionOptions(), (names, *translation), 1 << 20)

    packed = order.packed()
    if ROUTES[path].operation == "response":  # it is remembered in the daemon, which so carries it
        assert packed is None
        return
    assert packed is not None
    there = StreamOrder.unpacked(packed)

    assert (there.raw, there.options) == (order.raw, order.options)
    for transform, other in zip(order.transforms, there.transforms, strict=True):
        said = [[_NOW.sub(b"", one.feed(event)) for event in EVENTS] for one in (transform, other)]
        assert said[0] == said[1]
        assert b"whale" in b"".join(said[0])


def test_what_has_passed_comes_as_it_was_told() -> None:
    passed = Passed.unpacked(Passed([0.5, 1e6], [3, 2], b"abcde").packed())

    assert ([*passed.offsets_ms], [*passed.sizes], passed.body) == ([0.5, 1e6], [3, 2], b"abcde")


def test_an_error_comes_with_all_that_it_knows() -> None:
    error = BusyError("too many", retry_after_seconds=7, remedy="Wait")

    there = Outcome.unpacked(Outcome(error=error).packed()).error

    assert isinstance(there, BusyError)
    assert (str(there), there.retry_after_seconds) == (str(error), 7)


@pytest.mark.parametrize(("cores", "count"), [(1, 0), (7, 0), (8, 2), (16, 4), (128, 4)])
def test_a_small_machine_has_none_and_a_large_one_a_few(cores: int, count: int) -> None:
    assert usual_count(cores) == count


def test_a_channel_keeps_what_the_other_end_does_not_take_and_lends_only_at_once(tmp_path: Path) -> None:
    asyncio.run(_sends_more_than_is_taken(tmp_path))


async def _sends_more_than_is_taken(tmp_path: Path) -> None:
    one, other = socket.socketpair()
    taken: list[tuple[object, ...]] = []
    lent: list[int] = []
    ended = asyncio.Event()
    sender = Channel(one, lambda *_: None, ended.set)
    for number in range(100):
        sender.send(1, number, bytes(50_000))
    await asyncio.sleep(0)
    assert sender.is_congested
    assert not sender.send_with((0,), 2, 100, b"")
    sent = asyncio.Event()
    sender.when_sent(sent.set)

    def take(*frame: object) -> None:
        taken.append(frame)
        if frame[0] == 2:
            lent.append(receiver.descriptor())

    receiver = Channel(other, take, ended.set)
    await sent.wait()
    (tmp_path / "lent").write_text("a whale")
    with (tmp_path / "lent").open() as file:
        assert sender.send_with((file.fileno(),), 2, 100, b"last")
    sender.close()
    await ended.wait()

    assert taken == [*((1, number, bytes(50_000)) for number in range(100)), (2, 100, b"last")]
    with os.fdopen(lent[0]) as file:
        assert file.read() == "a whale"
