"""How answers flow: memory while a caller reads slowly, callers that go away, connections that are kept."""

from __future__ import annotations

import json
import socket
from collections.abc import Callable, Iterator

import psutil
import pytest

from tests.gateway.conftest import MODEL, Gateway
from tests.polling import eventually
from tests.synthetic_engine import MODEL as SYNTHETIC
from tests.synthetic_engine import SyntheticDmrc, synthetic_dmrc

MESSAGES = [{"role": "user", "content": "Tell me of the whale."}]
_GROWTH_BYTES = 40 << 20
"""What is kept for the record is 8 MiB at most, and copied once or twice."""


@pytest.fixture(scope="module")
def synthetic(needs_process: None) -> Iterator[SyntheticDmrc]:
    with synthetic_dmrc(parallel=2) as found:
        yield found


def exchanges(synthetic: SyntheticDmrc) -> dict[str, dict[str, object]]:
    found = json.loads(synthetic.dmrc.ok("requests", "--json", "-n", "100"))
    return {exchange["id"]: exchange for exchange in found}


def runner(synthetic: SyntheticDmrc) -> dict[str, object]:
    """Ask over the daemon's socket: a command may take longer than an answer."""
    (found,) = synthetic.dmrc.daemon_client().runners()
    return found


def settled(read: Callable[[], int]) -> int:
    """Return a number once it is no more growing."""
    seen: list[int] = []

    def is_settled() -> bool:
        seen.append(read())
        return len(seen) > 20 and seen[-1] - seen[-20] < 1 << 20

    eventually(is_settled, "end of growth")
    return max(seen)


def test_a_chunk_is_read_once_and_written_once(synthetic: SyntheticDmrc) -> None:
    """Another write for its frame, or a thread that is woken for each, is what fast streams would pay for first.

    Chunks that come together, as on a busy machine, are fewer reads and writes, never more.
    """
    chunks = 200
    daemon = psutil.Process(synthetic.pid)
    before = daemon.io_counters()

    answer = synthetic.ask(stream=True, max_tokens=chunks, rate=200).read()

    after = daemon.io_counters()
    assert answer.count(b'"content":') == chunks
    # Half as many again are for what a daemon does by itself meanwhile.
    assert after.read_count - before.read_count < 1.5 * chunks
    assert after.write_count - before.write_count < 1.5 * chunks


@pytest.mark.parametrize(
    "request_body",
    [{"stream": True, "max_tokens": 400_000}, {"answer_bytes": 100 << 20}],
    ids=["stream", "whole"],
)
def test_an_answer_of_100_mb_that_nobody_reads_does_not_fill_the_daemons_memory(
    synthetic: SyntheticDmrc, request_body: dict[str, object]
) -> None:
    daemon = psutil.Process(synthetic.pid)
    before = daemon.memory_info().rss

    with synthetic.ask(**request_body) as answer:
        highest = settled(lambda: daemon.memory_info().rss)
        size = 0
        while data := answer.read(1 << 20):
            size += len(data)
            last = data

    assert highest - before < _GROWTH_BYTES
    assert size > 90 << 20  # the name that was asked for is shorter than the engine's, in each event
    assert last.endswith((b"data: [DONE]\n\n", b'"}'))
    exchange = eventually(lambda: exchanges(synthetic).get(answer.headers["x-dmrc-exchange-id"]))
    assert exchange["response_truncated"] is True
    assert exchange["client_disconnected"] is False


def test_many_small_chunks_arrive_each_and_in_order(synthetic: SyntheticDmrc) -> None:
    with synthetic.ask(stream=True, max_tokens=20_000) as answer:
        events = answer.read().split(b"\n\n")

    words = [json.loads(event[6:])["choices"][0]["delta"].get("content") for event in events[:-3]]
    again = words[: words.index(words[0], 1)]
    assert len(words) == 20_000
    assert all(word == again[index % len(again)] for index, word in enumerate(words))
    assert events[-2:] == [b"data: [DONE]", b""]


def test_a_slow_stream_arrives_chunk_by_chunk(synthetic: SyntheticDmrc) -> None:
    with synthetic.ask(stream=True, max_tokens=5, rate=2) as answer:
        assert answer.readline().startswith(b"data: ")
        assert runner(synthetic)["in_use"] == 1
        assert answer.read().endswith(b"data: [DONE]\n\n")


def test_a_caller_that_goes_away_in_the_middle_of_its_request_is_recorded(synthetic: SyntheticDmrc) -> None:
    before = exchanges(synthetic).keys()
    with socket.create_connection(("127.0.0.1", synthetic.dmrc.port)) as connection:
        head = f"POST /v1/completions HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {synthetic.key}\r\n"
        connection.sendall(f"{head}Content-Length: 100\r\n\r\n{{".encode())

    (exchange,) = eventually(lambda: [one for id, one in exchanges(synthetic).items() if id not in before])

    assert exchange["client_disconnected"] is True
    assert exchange["status"] is None


def test_a_caller_that_goes_away_while_it_waits_leaves_the_queue(synthetic: SyntheticDmrc) -> None:
    streams = [synthetic.ask(stream=True, max_tokens=100_000, rate=20) for _ in range(2)]
    with socket.create_connection(("127.0.0.1", synthetic.dmrc.port)) as waiting:
        body = json.dumps({"model": SYNTHETIC, "messages": MESSAGES})
        head = f"POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {synthetic.key}\r\n"
        waiting.sendall(f"{head}Content-Length: {len(body)}\r\n\r\n{body}".encode())
        eventually(lambda: runner(synthetic)["waiting"] == 1)

    eventually(lambda: runner(synthetic)["waiting"] == 0)

    assert runner(synthetic)["in_use"] == 2
    for stream in streams:
        stream.close()
    eventually(lambda: runner(synthetic)["in_use"] == 0)


def test_a_caller_that_does_not_read_and_then_goes_away_frees_the_slot(synthetic: SyntheticDmrc) -> None:
    answer = synthetic.ask(stream=True, max_tokens=400_000)
    eventually(lambda: runner(synthetic)["in_use"] == 1)

    answer.close()

    eventually(lambda: runner(synthetic)["in_use"] == 0)
    exchange = eventually(lambda: exchanges(synthetic).get(answer.headers["x-dmrc-exchange-id"]))
    assert exchange["client_disconnected"] is True


def test_a_request_in_chunks_that_waits_for_100_continue_is_served(synthetic: SyntheticDmrc) -> None:
    body = json.dumps({"model": SYNTHETIC, "messages": MESSAGES}).encode()
    with socket.create_connection(("127.0.0.1", synthetic.dmrc.port), timeout=20) as connection:
        connection.sendall(
            b"POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n"
            b"Authorization: Bearer " + synthetic.key.encode() + b"\r\nExpect: 100-continue\r\n\r\n"
        )
        assert connection.recv(100) == b"HTTP/1.1 100 Continue\r\n\r\n"
        for byte in body:
            connection.sendall(b"1\r\n%b\r\n" % bytes([byte]))
        connection.sendall(b"0\r\n\r\n")
        answer = b""
        while b'"content":' not in answer and (more := connection.recv(65536)):  # the head may come by itself
            answer += more

    assert answer.startswith(b"HTTP/1.1 200 OK\r\n")
    assert b'"content":"Hello there."' in answer


def _stream_request(synthetic: SyntheticDmrc, tokens: int) -> bytes:
    body = json.dumps({"model": SYNTHETIC, "messages": MESSAGES, "stream": True, "max_tokens": tokens})
    head = f"POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {synthetic.key}\r\n"
    return f"{head}Content-Length: {len(body)}\r\n\r\n{body}".encode()


def test_streams_that_are_asked_for_in_advance_come_one_after_the_other(synthetic: SyntheticDmrc) -> None:
    with socket.create_connection(("127.0.0.1", synthetic.dmrc.port), timeout=20) as connection:
        connection.sendall(b"".join(_stream_request(synthetic, count) for count in (3, 2, 1)))
        answer = b""
        while answer.count(b"0\r\n\r\n") < 3 and (more := connection.recv(65536)):
            answer += more

    heads = answer.split(b"HTTP/1.1 200 OK\r\n")[1:]
    assert [one.count(b'"content"') for one in heads] == [3, 2, 1]
    assert all(one.endswith(b"data: [DONE]\n\n\r\n0\r\n\r\n") for one in heads)


def test_the_real_engine_answers_more_requests_than_it_serves_on_one_connection(gateway: Gateway) -> None:
    """llama.cpp's server ends a connection after 100 requests, or without a word after a stream."""
    completions = gateway.client().completions

    for number in range(110):
        if number % 10:
            assert completions.create(model=MODEL, prompt="One", max_tokens=1).choices
        else:
            assert list(completions.create(model=MODEL, prompt="One", max_tokens=1, stream=True))
