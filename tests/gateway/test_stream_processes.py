"""Streams that processes of their own carry: what callers, the engine and the record see is what they saw before."""

from __future__ import annotations

import http.client
import json
import os
import re
import signal
import socket
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psutil
import pytest

from tests.polling import eventually
from tests.processes import engines_of, has_ended, stream_processes_of
from tests.synthetic_engine import MODEL, SyntheticDmrc, synthetic_dmrc

MESSAGES = [{"role": "user", "content": "Tell me of the whale."}]
_GROWTH_BYTES = 40 << 20


@pytest.fixture(scope="module")
def synthetic(needs_process: None) -> Iterator[SyntheticDmrc]:
    with synthetic_dmrc(parallel=256, DMRC_STREAM_PROCESSES="2") as found:
        wait_for_both(found)
        yield found


@pytest.fixture(autouse=True)
def nothing_is_carried(synthetic: SyntheticDmrc) -> None:
    eventually(lambda: carried(synthetic) == 0, "end of former streams")


def carriers(synthetic: SyntheticDmrc) -> list[psutil.Process]:
    """Return the stream processes."""
    return stream_processes_of(psutil.Process(synthetic.pid))


def carried_by(process: psutil.Process) -> int:
    """Return how many streams a process carries: of each it has two sockets, beside three of its own."""
    files = [file.readlink() for file in Path(f"/proc/{process.pid}/fd").iterdir()]
    return (sum(str(file).startswith("socket:") for file in files) - 3) // 2


def carried(synthetic: SyntheticDmrc) -> int:
    return sum(map(carried_by, carriers(synthetic)))


def slow(synthetic: SyntheticDmrc, chunks: int = 10_000) -> http.client.HTTPResponse:
    return synthetic.ask(stream=True, max_tokens=chunks, rate=50)


def wait_for_both(synthetic: SyntheticDmrc) -> None:
    """They start with a stream, which the daemon carries, as it does until they are ready."""

    def are_ready() -> bool:
        with slow(synthetic) as one, slow(synthetic) as other:
            one.readline(), other.readline()
            return carried(synthetic) == 2

    eventually(are_ready, "two stream processes")


def exchanges(synthetic: SyntheticDmrc) -> dict[str, dict[str, object]]:
    return {one["id"]: one for one in json.loads(synthetic.dmrc.ok("requests", "--json", "-n", "300"))}


def all_of(synthetic: SyntheticDmrc, ids: Iterable[str]) -> list[dict[str, object]] | None:
    found = exchanges(synthetic)
    return [found[id] for id in ids] if found.keys() >= {*ids} else None


def exchange(synthetic: SyntheticDmrc, answer: http.client.HTTPResponse) -> dict[str, object]:
    return eventually(lambda: exchanges(synthetic).get(answer.headers["x-dmrc-exchange-id"]), "exchange")


def sent(synthetic: SyntheticDmrc, *bodies: dict[str, object]) -> socket.socket:
    """Send requests on one connection without waiting for an answer, and return it."""
    connection = socket.create_connection(("127.0.0.1", synthetic.dmrc.port), timeout=60)
    for more in bodies:
        body = json.dumps({"model": MODEL, "messages": MESSAGES, **more})
        head = f"POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {synthetic.key}\r\n"
        connection.sendall(f"{head}Content-Length: {len(body)}\r\n\r\n{body}".encode())
    return connection


def engines_own(synthetic: SyntheticDmrc, chunks: int) -> bytes:
    """Ask the engine itself."""
    connection = http.client.HTTPConnection("runner")
    connection.sock = socket.socket(socket.AF_UNIX)
    connection.sock.connect(str(synthetic.socket))
    connection.request("POST", "/v1/chat/completions", json.dumps({"stream": True, "max_tokens": chunks}))
    with connection.getresponse() as answer:
        return answer.read()


def test_streams_are_dealt_to_both_and_say_what_the_engine_does(synthetic: SyntheticDmrc) -> None:
    with slow(synthetic) as one, slow(synthetic) as other:
        one.readline(), other.readline()
        assert [carried_by(process) for process in carriers(synthetic)] == [1, 1]

    with synthetic.ask(stream=True, max_tokens=500) as answer:
        body = answer.read()

    assert body == engines_own(synthetic, 500).replace(b"docker.io/local/synthetic:latest", MODEL.encode())
    recorded = exchange(synthetic, answer)
    assert recorded["completion_tokens"] == 500
    assert recorded["finish_reason"] == "length"
    assert 0 < recorded["first_token_ms"] < recorded["total_ms"]


def test_a_caller_who_hangs_up_frees_the_slot_and_is_recorded_as_such(synthetic: SyntheticDmrc) -> None:
    answer = slow(synthetic)
    answer.readline()
    assert carried(synthetic) == 1

    answer.close()

    eventually(lambda: carried(synthetic) == 0)
    (runner,) = synthetic.dmrc.daemon_client().runners()
    recorded = exchange(synthetic, answer)
    assert runner["in_use"] == 0
    assert recorded["client_disconnected"] is True


def test_a_caller_who_hangs_up_after_the_last_event_has_had_it_all(synthetic: SyntheticDmrc) -> None:
    ids = []
    for _ in range(10):
        with synthetic.ask(stream=True, max_tokens=10, rate=1000) as answer:
            while not answer.readline().startswith(b"data: [DONE]"):
                pass
            ids.append(answer.headers["x-dmrc-exchange-id"])

    found = eventually(lambda: all_of(synthetic, ids))
    assert [(one["client_disconnected"], one["completion_tokens"]) for one in found] == [(False, 10)] * 10


def test_a_connection_of_the_caller_goes_on_after_a_stream(synthetic: SyntheticDmrc) -> None:
    """The second request is sent while the stream runs: the daemon reads it, and answers it after the stream."""
    with sent(synthetic, {"stream": True, "max_tokens": 20, "rate": 50}, {}) as connection:
        answers = b""
        while b"Hello there." not in answers:
            data = connection.recv(1 << 16)
            assert data
            answers += data

    first, second = re.split(rb"(?=HTTP/1.1 200 OK\r\n)", answers)[1:]
    assert first.count(b"data: ") == 22
    assert first.endswith(b"data: [DONE]\n\n\r\n0\r\n\r\n")
    assert b"chat.completion" in second


def test_a_caller_who_reads_slowly_holds_the_engine_back_and_no_memory(synthetic: SyntheticDmrc) -> None:
    processes = [psutil.Process(synthetic.pid), *carriers(synthetic)]
    before = sum(process.memory_info().rss for process in processes)
    seen: list[int] = []

    def is_settled() -> bool:
        seen.append(sum(process.memory_info().rss for process in processes))
        return len(seen) > 20 and seen[-1] - seen[-20] < 1 << 20

    with synthetic.ask(stream=True, max_tokens=200_000) as answer:
        eventually(is_settled, "end of growth")
        size, last = 0, b""
        while data := answer.read(1 << 20):
            size, last = size + len(data), data

    assert max(seen) - before < _GROWTH_BYTES
    assert size > 45 << 20
    assert last.endswith(b"data: [DONE]\n\n")
    recorded = exchange(synthetic, answer)
    assert recorded["response_truncated"] is True
    assert recorded["client_disconnected"] is False


def test_two_hundred_streams_at_once_come_to_their_ends(synthetic: SyntheticDmrc) -> None:
    def read(_: int) -> tuple[str, bytes]:
        with synthetic.ask(stream=True, max_tokens=40, rate=20) as answer:
            return answer.headers["x-dmrc-exchange-id"], answer.read()

    with ThreadPoolExecutor(200) as threads:
        answers = dict(threads.map(read, range(200)))

    assert len({*answers.values()}) == 1
    found = eventually(lambda: all_of(synthetic, answers))
    assert [one["completion_tokens"] for one in found] == [40] * 200


def test_streams_of_a_process_that_is_killed_are_cut_and_recorded(synthetic: SyntheticDmrc) -> None:
    """Nobody knows what it wrote at last, so that neither an event nor the end of the body can follow."""
    victim, survivor = carriers(synthetic)
    streams = [slow(synthetic, 100), slow(synthetic, 100)]
    for stream in streams:
        stream.readline()

    os.kill(victim.pid, signal.SIGKILL)

    bodies: list[bytes] = []
    cut: list[http.client.HTTPResponse] = []
    for stream in streams:
        with stream:
            try:
                bodies.append(stream.read())
            except http.client.IncompleteRead as error:
                assert b"[DONE]" not in error.partial
                cut.append(stream)
    assert len(bodies) == len(cut) == 1
    assert bodies[0].endswith(b"data: [DONE]\n\n")
    recorded = exchange(synthetic, cut[0])
    assert "the process that carried the answer has ended: by SIGKILL" in str(recorded["error_message"])
    assert recorded["client_disconnected"] is False
    assert synthetic.ask(stream=True, max_tokens=5).read().endswith(b"data: [DONE]\n\n")
    wait_for_both(synthetic)
    assert survivor in carriers(synthetic)


def test_an_engine_that_dies_ends_its_streams_with_an_error(synthetic: SyntheticDmrc) -> None:
    (engine,) = engines_of(psutil.Process(synthetic.pid))
    with slow(synthetic) as answer:
        answer.readline()
        assert carried(synthetic) == 1

        engine.kill()

        body = answer.read()
    assert b'"error"' in body
    assert b"[DONE]" not in body
    recorded = exchange(synthetic, answer)
    assert MODEL in str(recorded["error_message"])
    assert synthetic.ask(stream=True, max_tokens=5).read().endswith(b"data: [DONE]\n\n")


def test_a_daemon_that_is_killed_leaves_none_behind(synthetic: SyntheticDmrc) -> None:
    """The last one: nothing is there after it."""
    processes = carriers(synthetic)
    with slow(synthetic) as answer:
        answer.readline()

        os.kill(synthetic.pid, signal.SIGKILL)

        with pytest.raises(http.client.IncompleteRead):
            answer.read()
    assert len(processes) == 2
    eventually(lambda: all(has_ended(process.pid) for process in processes))
