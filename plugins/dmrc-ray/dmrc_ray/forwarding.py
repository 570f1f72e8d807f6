"""One request on its way through the bridge: read, sent to a llama.cpp server, and its answer copied as it comes."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Sequence
from dataclasses import dataclass

from dmrc_ray.control import keep_alive
from dmrc_ray.replica_info import ReplicaInfo
from dmrc_ray.replicas import KnownReplica

HEAD_BYTES = 256 << 10
_CHUNK_BYTES = 64 << 10
_CONNECT_SECONDS = 5.0
_LONGEST_IN_VAIN = 2000
_END = b"\r\n\r\n"
_OURS = re.compile(
    rb"^(?:connection|keep-alive|authorization|x-api-key|x-dmrc-[a-z-]+)[ \t]*:.*\r\n",
    re.I | re.M,
)
_LENGTH = re.compile(rb"^content-length[ \t]*:[ \t]*(\d+)", re.I | re.M)
_SESSION = re.compile(rb"^x-session-id[ \t]*:[ \t]*([^\r\n]+)", re.I | re.M)
_EMPTY = re.compile(rb"^content-length[ \t]*:[ \t]*0[ \t]*\r\n", re.I | re.M)


class NothingSentError(ConnectionError):
    """A replica went away before it had answered: another one may be asked."""

    def __init__(self, reason: str, *, was_sent: bool = True) -> None:
        """Say why; `was_sent` is whether the replica may have read the request."""
        super().__init__(reason)
        self.was_sent = was_sent


@dataclass(frozen=True, slots=True)
class Request:
    """What dmrc asks."""

    method: str
    """`GET`, `POST`."""
    path: str
    """With what follows a question mark."""
    head: bytes
    """Request line and headers as they came, but those that are between dmrc and the bridge."""
    body: bytes
    """As it came."""
    session: str
    """`x-session-id`; empty where there is none."""

    @classmethod
    async def read(cls, reader: asyncio.StreamReader) -> Request:
        """Read one.

        Raises:
            ValueError: It is none. OSError, EOFError: The caller went away.
        """
        head = await reader.readuntil(_END)
        method, path, _ = head.partition(b"\r\n")[0].decode("latin-1").split(" ")
        length = _LENGTH.search(head)
        session = _SESSION.search(head)
        return cls(
            method,
            path,
            _OURS.sub(b"", head.removesuffix(b"\r\n")),
            await reader.readexactly(int(length[1])) if length else b"",
            session[1].decode("latin-1").strip() if session else "",
        )


async def forward(request: Request, replica: KnownReplica, caller: asyncio.StreamWriter, said: str = "") -> None:
    """Ask a replica, and copy its answer to the caller, chunk by chunk as it comes. On cancel the replica is left.

    `said` is what `before` made of the way to it.

    Raises:
        NothingSentError: It went away or fell silent, and the caller has got nothing.
    """
    info = replica.info
    try:
        async with asyncio.timeout(_CONNECT_SECONDS):
            reader, writer = await asyncio.open_connection(info.host, info.port, limit=HEAD_BYTES)
    except OSError as error:
        raise NothingSentError(str(error), was_sent=False) from error
    replica.forwards.add(writer)
    try:
        if replica.is_silent:  # since the connection was begun: nobody ends it any more
            raise NothingSentError("it fell silent", was_sent=False)
        keep_alive(writer)
        writer.write(request.head + f"Authorization: Bearer {info.key}\r\nConnection: close\r\n\r\n".encode())
        writer.write(request.body)
        try:
            head = await reader.readuntil(_END)
            while head.startswith(b"HTTP/1.1 1"):  # 100 Continue
                head = await reader.readuntil(_END)
            has_body = not (_EMPTY.search(head) or head[9:12] in (b"204", b"304"))
            chunk = await reader.read(_CHUNK_BYTES) if has_body else b""
            if has_body and not chunk:
                raise EOFError("it went away before the first byte")
        except (OSError, EOFError) as error:
            raise NothingSentError("it fell silent" if replica.is_silent else str(error)) from error
        caller.write(_OURS.sub(b"", head.removesuffix(b"\r\n")) + _said(info, said) + chunk)
        try:
            while chunk:
                await caller.drain()
                if chunk := await reader.read(_CHUNK_BYTES):
                    caller.write(chunk)
        except OSError:
            return  # the caller sees an answer without an end, which is what there is
    finally:
        replica.forwards.discard(writer)
        writer.close()


def before(in_vain: Sequence[str], waited_seconds: float) -> str:
    """Return headers of who had a request in vain, and why, and of how long it waited."""
    said = f"x-dmrc-waited-ms: {waited_seconds * 1000:.0f}\r\n"
    if in_vain:
        names = "; ".join(" ".join(each.replace(";", ",").split()) for each in in_vain)
        said += f"x-dmrc-instead-of: {names[:_LONGEST_IN_VAIN]}\r\n"
    return said


def _said(info: ReplicaInfo, more: str) -> bytes:
    said = f"x-dmrc-replica: {info.name}\r\nx-dmrc-node: {info.node}\r\n{more}"
    return f"{said}Connection: close\r\n\r\n".encode("latin-1", "replace")


def answer(status: str, body: bytes, content_type: str = "application/json") -> bytes:
    """Return an answer of the bridge's own."""
    head = (
        f"HTTP/1.1 {status}\r\nContent-Type: {content_type}\r\nContent-Length: {len(body)}\r\nConnection: close\r\n\r\n"
    )
    return head.encode() + body
