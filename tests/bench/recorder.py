"""What it costs to record one exchange: processor time of the recorder, here and in its process; it knows secrets."""

from __future__ import annotations

import json
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import median

from dmrc.capture.database import ExchangeDatabase
from dmrc.capture.policy import AnyCaller
from dmrc.capture.recorder import Recorder
from dmrc.capture.redaction import Redactor
from dmrc.capture.rows import words_of
from dmrc.capture.writing import ReadExchange
from dmrc.event_stream import events
from dmrc.exchange import Exchange, new_exchange_id
from tests.bench._processor import seconds_of
from tests.bench.figure import Figure

_RUNS = 5
_TEXT = "the whale swam slowly round a ship while its crew slept and dreamt of "
_TIMINGS = {"prompt_n": 9, "cache_n": 3, "prompt_ms": 11.2, "predicted_n": 200, "predicted_per_second": 111.1}
_SECRETS = ("postgres://shop:hunter2sWh@db/shop", "tok_4f9a0b1c2d3e4f5a6b7c", "S3cr3t-pa55-phrase!")
_BAR = 5.0


@dataclass(frozen=True)
class _Case:
    name: str
    exchange: Exchange
    count: int


class _Policy(AnyCaller):
    """Knows the secrets of a project."""

    def __init__(self) -> None:
        super().__init__("full")
        self._redactor = Redactor(_SECRETS)


def measure() -> list[Figure]:
    """Record the same exchanges again and again, and beside it read them once as JSON and write them."""
    return [_figure(case) for case in _cases()]


def _figure(case: _Case) -> Figure:
    pairs = [(_recorded(case), _read_and_written(case)) for _ in range(_RUNS)]
    return Figure(
        name=f"processor time to record {case.name}, against one reading and writing",
        value=median(ours / least for ours, least in pairs),
        unit="×",
        bar=_BAR,
        ours=f"{median(ours for ours, _ in pairs) * 1e6:.0f} µs",
        theirs=f"{median(least for _, least in pairs) * 1e6:.0f} µs",
        runs=_RUNS,
    )


def _recorded(case: _Case) -> float:
    """Return the seconds of this process and of the recorder's for one exchange that nobody here must see whole."""
    with tempfile.TemporaryDirectory() as directory:
        recorder = Recorder(Path(directory) / "exchanges.sqlite3", policy=_Policy())

        def record(count: int) -> float:
            copies = [replace(case.exchange, id=new_exchange_id()) for _ in range(count)]
            began = _seconds(recorder)
            for copy in copies:
                recorder.record(copy)
            assert recorder.flush(60)
            return (_seconds(recorder) - began) / count

        record(10)
        seconds = record(case.count)
        recorder.close()
        assert recorder.counts().recorded == case.count + 10
        return seconds


def _seconds(recorder: Recorder) -> float:
    process = recorder.process_id
    return time.process_time() + (seconds_of(process) if process is not None else 0.0)


def _read_and_written(case: _Case) -> float:
    """Return the seconds that it takes to read an exchange as JSON, event by event, and to write it; nothing else."""
    words = words_of(case.exchange)
    pieces = [document for body in _bodies(case.exchange) for document in body]
    with (
        tempfile.TemporaryDirectory() as directory,
        closing(ExchangeDatabase(Path(directory) / "exchanges.sqlite3")) as database,
    ):
        copies = [ReadExchange(replace(case.exchange, id=new_exchange_id()), words) for _ in range(case.count + 1)]
        database.insert_read(copies[:1])
        began = time.thread_time()
        for _ in range(case.count):
            for piece in pieces:
                json.loads(piece)
        database.insert_read(copies[1:])
        return (time.thread_time() - began) / case.count


def _bodies(exchange: Exchange) -> Iterator[Iterable[bytes]]:
    yield [exchange.request_body]
    streamed = [event.data for event in events(exchange.response_body) if event.data[:1] == b"{"]
    yield streamed or [exchange.response_body]


def _cases() -> list[_Case]:
    chat = {"messages": [{"role": "user", "content": "Tell me of the whale."}], "temperature": 0.2}
    turns = [{"role": role, "content": _TEXT * 20} for role in ("user", "assistant") * 36]
    said = {"index": 0, "message": {"role": "assistant", "content": _TEXT}, "finish_reason": "stop"}
    usage = {"prompt_tokens": 12, "completion_tokens": 200}
    answer = json.dumps({"choices": [said], "usage": usage, "timings": _TIMINGS}).encode()
    return [
        _Case("a small chat", _exchange(chat, answer), 500),
        _Case("a chat of 100 KB", _exchange({"messages": turns}, answer), 60),
        _Case("200 chunks of a chat", _exchange(chat, _streamed(_chunk)), 60),
        _Case("200 chunks of Anthropic's", _exchange(chat, _streamed(_block), dialect="anthropic"), 60),
        _Case("200 chunks of a response", _exchange(chat, _streamed(_delta), operation="response"), 60),
    ]


def _exchange(request: dict[str, object], answer: bytes, **more: str) -> Exchange:
    kind = "text/event-stream" if answer.startswith((b"data", b"event")) else "application/json"
    names = ("accept", "user-agent", "x-stainless-lang", "x-stainless-os", "content-type", "connection")
    exchange = Exchange(
        id="",
        project="shop",
        service="web",
        method="POST",
        path="/engines/v1/chat/completions",
        operation="chat",
        model_requested="ai/smollm2",
        received_at=1_760_000_000.0,
        total_ms=2000.0,
        status=200,
        request_headers={
            **dict.fromkeys(names, "application/json"),
            "authorization": "Bearer sk-dmrc-aaaaaaaaaaaaaaaa",
        },
        request_body=json.dumps({"model": "ai/smollm2", **request}).encode(),
        response_headers={"content-type": kind},
        response_body=answer,
    )
    return replace(exchange, **more)  # type: ignore[arg-type]


def _streamed(event: Callable[[str], dict[str, object]]) -> bytes:
    told = [event(f" {word}") for word in (_TEXT * 20).split()[:200]]
    return b"".join(f"event: {one.get('type', 'chunk')}\ndata: {json.dumps(one)}\n\n".encode() for one in told)


def _chunk(text: str) -> dict[str, object]:
    choice = {"index": 0, "delta": {"content": text}, "finish_reason": None}
    return {"choices": [choice], "id": "chatcmpl-8wHcXJ3q7Zk5tR1n", "model": "ai/smollm2", "object": "chunk"}


def _block(text: str) -> dict[str, object]:
    return {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": text}}


def _delta(text: str) -> dict[str, object]:
    place = {"item_id": "msg_1", "output_index": 0, "content_index": 0}
    return {"type": "response.output_text.delta", **place, "delta": text}
