"""Request bodies that were compressed (`Content-Encoding`), read piece by piece, so that none can grow unseen.

Source: RFC 9110, section 8.4.
"""

from __future__ import annotations

import asyncio

from starlette.types import Message, Receive, Scope

from dmrc.decompression import ENCODINGS, NOT_DECODED, Decoder, decoder_of
from dmrc.errors import HttpInputError, InputError
from dmrc.gateway.server.request_fields import fields_of

_PLAIN = ("", "identity")
_MOST_ENCODINGS = 3
"""One inside the other."""


def with_decoded_body(scope: Scope, receive: Receive) -> tuple[Scope, Receive]:
    """Return what a request is without its encoding; `receive` then raises what is wrong with it (415, 400)."""
    said = fields_of(scope).get("content-encoding", ())
    names = [name for name in (each.strip().lower() for each in ",".join(said).split(",")) if name not in _PLAIN]
    if not names:
        return scope, receive
    hidden = (b"content-encoding", b"content-length")
    scope = {**scope, "headers": [pair for pair in scope["headers"] if pair[0] not in hidden]}
    if len(names) > _MOST_ENCODINGS:
        return scope, _too_many_encodings
    for name in reversed(names):
        receive = _Decoding(receive, name)
    return scope, receive


async def _too_many_encodings() -> Message:
    raise HttpInputError(
        f"the request body has more than {_MOST_ENCODINGS} content-encodings", status=415, remedy="Use one, or none"
    )


class _Decoding:
    """A `receive` that gives a body in pieces of 128 KiB at most, whatever it grows to."""

    def __init__(self, receive: Receive, name: str) -> None:
        self._receive = receive
        self._name = name
        self._decoder: Decoder | None = None
        self._has_all = self._has_ended = False

    async def __call__(self) -> Message:
        decoder = self._decoder = self._decoder or _decoder(self._name)
        while not self._has_ended:
            try:
                if piece := decoder.take():
                    await asyncio.sleep(0)
                    return {"type": "http.request", "body": piece, "more_body": True}
                if self._has_all:
                    self._has_ended = True
                    decoder.check_end()
                    return {"type": "http.request", "body": b"", "more_body": False}
                message = await self._receive()
                if message["type"] != "http.request":
                    return message
                decoder.feed(message.get("body", b""))
                self._has_all = not message.get("more_body", False)
            except NOT_DECODED as error:
                raise InputError(f"the request body is not {self._name}: {error}") from error
        return await self._receive()


def _decoder(name: str) -> Decoder:
    if (decoder := decoder_of(name)) is None:
        raise HttpInputError(
            f"the request body has the content-encoding '{name}'",
            status=415,
            remedy=f"Use one of {ENCODINGS}, or none",
            headers={"accept-encoding": ENCODINGS},
        )
    return decoder
