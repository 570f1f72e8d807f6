"""A runner that computes nothing: what it costs to ask it is the gateway's own cost.

`python -m tests.synthetic_server LAUNCH`, a JSON object as the children of engines get it. It speaks HTTP as
llama.cpp's server does, on a unix socket (or on a TCP `port`, for those that know no other), with kept-alive
connections and chunked streams. Of a request it reads `stream`; `max_tokens`, the number of chunks of a stream; `rate`,
how many of them come in a second, each stream at moments of its own, and 0 is as fast as they are taken; and
`answer_bytes`, the size of an answer that is no stream.
"""

from __future__ import annotations

import asyncio
import json
import sys
from typing import cast

import httptools
import uvloop

from dmrc.engines.parent_death import die_with_parent

_WORDS = ("the", "whale", "swam", "slowly", "round", "a", "ship", "while", "its", "crew", "slept", "and", "dreamt")
_HEAD = b"HTTP/1.1 200 OK\r\nServer: synthetic\r\nContent-Type: %b\r\n"
_CHUNKED = _HEAD % b"text/event-stream" + b"Transfer-Encoding: chunked\r\n\r\n"


def _framed(data: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(data), data)


def _event(choice: dict[str, object], **more: object) -> bytes:
    document = {"choices": [choice], "created": 1760000000, "id": "chatcmpl-8wHcXJ3q7Zk5tR1nV0yB6dFpL2sGmA9e"}
    document |= {"model": "docker.io/local/synthetic:latest", "system_fingerprint": "b1-0000000"}
    document |= {"object": "chat.completion.chunk", **more}
    return _framed(b"data: " + json.dumps(document, separators=(",", ":")).encode() + b"\n\n")


_CHUNKS = [_event({"finish_reason": None, "index": 0, "delta": {"content": f" {word}"}}) for word in _WORDS]
_DONE = _framed(b"data: [DONE]\n\n") + b"0\r\n\r\n"


def _last(count: int) -> bytes:
    timings = {"prompt_n": 12, "prompt_ms": 1.0, "predicted_n": count, "predicted_per_second": 100.0}
    return _event({"finish_reason": "length", "index": 0, "delta": {}}, timings=timings) + _DONE


def _whole(document: dict[str, object]) -> bytes:
    body = json.dumps(document, separators=(",", ":")).encode()
    return _HEAD % b"application/json" + b"Content-Length: %d\r\n\r\n%b" % (len(body), body)


_HEALTHY = _whole({"status": "ok"})
_ANSWER = _whole(
    {
        "choices": [{"finish_reason": "stop", "index": 0, "message": {"role": "assistant", "content": "Hello there."}}],
        "object": "chat.completion",
        "usage": {"completion_tokens": 3, "prompt_tokens": 12, "total_tokens": 15},
    }
)


def _padded(size_bytes: int) -> bytes:
    body = b'{"padding":"%b"}' % (b" " * size_bytes)
    return _HEAD % b"application/json" + b"Content-Length: %d\r\n\r\n%b" % (len(body), body)


class _Connection(asyncio.Protocol):
    """One connection."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._writable = True
        self._timer: asyncio.TimerHandle | None = None
        self._left = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self._parser = httptools.HttpRequestParser(self)

    def data_received(self, data: bytes) -> None:
        self._parser.feed_data(data)

    def connection_lost(self, exc: Exception | None) -> None:
        self._left = 0
        if self._timer is not None:
            self._timer.cancel()

    def pause_writing(self) -> None:
        self._writable = False

    def resume_writing(self) -> None:
        self._writable = True
        if self._left and not self._rate:
            self._pour()

    def on_message_begin(self) -> None:
        self._body = b""

    def on_body(self, body: bytes) -> None:
        self._body += body

    def on_message_complete(self) -> None:
        if self._parser.get_method() == b"GET":
            self._transport.write(_HEALTHY)
            return
        request = json.loads(self._body)
        if not request.get("stream"):
            self._transport.write(_padded(request["answer_bytes"]) if "answer_bytes" in request else _ANSWER)
            return
        self._count = self._left = int(request["max_tokens"])
        self._rate = float(request.get("rate", 0))
        self._transport.write(_CHUNKED)
        if self._rate:
            self._due = self._loop.time()
            self._tick()
        else:
            self._pour()

    def _tick(self) -> None:
        if self._writable:
            self._give()
        if self._left:
            self._due += 1 / self._rate
            self._timer = self._loop.call_at(self._due, self._tick)

    def _pour(self) -> None:
        while self._left and self._writable:
            self._give()

    def _give(self) -> None:
        self._transport.write(_CHUNKS[self._left % len(_CHUNKS)])
        self._left -= 1
        if not self._left:
            self._transport.write(_last(self._count))


async def serve(launch: dict[str, object]) -> None:
    """Serve on the `socket` or on the `port` of `launch`, until it is cancelled."""
    loop = asyncio.get_running_loop()
    if "port" in launch:
        server = await loop.create_server(_Connection, "127.0.0.1", launch["port"])
    else:
        server = await loop.create_unix_server(_Connection, launch["socket"])
    await server.serve_forever()


if __name__ == "__main__":
    die_with_parent()
    uvloop.run(serve(json.loads(sys.argv[1])))
