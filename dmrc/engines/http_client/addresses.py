"""The addresses of a name, and a TCP connection to the one that answers first."""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import Sequence
from contextlib import suppress
from itertools import chain, zip_longest

from dmrc.background import begin

_HEAD_START_SECONDS = 0.25

_Where = tuple[str, int] | tuple[str, int, int, int] | tuple[int, bytes]
_Address = tuple[int, _Where]  # with its family


async def connected_socket(name: str, port: int) -> socket.socket:
    """Return a socket that is connected to a name, or an address.

    Of several addresses each has a head start of 250 ms before the next one is tried too, the two families in turn: one
    that leads nowhere holds nobody up. Source: RFC 8305.

    Raises:
        OSError: The name has no address, or none of them takes a connection: what the first of them said.
    """
    loop = asyncio.get_running_loop()
    waiting = _in_turn([(each[0], each[4]) for each in await loop.getaddrinfo(name, port, type=socket.SOCK_STREAM)])
    tries: set[asyncio.Task[socket.socket]] = set()
    first: OSError | None = None
    try:
        while waiting or tries:
            if waiting:
                tries.add(begin(_connected(*waiting.pop(0)), "a connection", expected=OSError))
            done, _ = await asyncio.wait(
                tries, timeout=_HEAD_START_SECONDS if waiting else None, return_when=asyncio.FIRST_COMPLETED
            )
            for one in done:
                tries.remove(one)
                try:
                    return one.result()
                except OSError as error:
                    first = first or error
    finally:
        for one in tries:
            one.add_done_callback(_close)
            one.cancel()
    raise first or OSError("its name has no address")


async def _connected(family: int, address: _Where) -> socket.socket:
    one = socket.socket(family, socket.SOCK_STREAM)
    try:
        one.setblocking(False)
        await asyncio.get_running_loop().sock_connect(one, address)
    except OSError as error:
        one.close()
        raise OSError(error.errno, os.strerror(error.errno) if error.errno else str(error)) from error
    except BaseException:
        one.close()
        raise
    return one


def _in_turn(addresses: Sequence[_Address]) -> list[_Address]:
    """Return the same with the families in turn, that of the first one first."""
    preferred = [each for each in addresses if each[0] == addresses[0][0]]
    others = [each for each in addresses if each[0] != addresses[0][0]]
    return [each for each in chain.from_iterable(zip_longest(preferred, others)) if each is not None]


def _close(late: asyncio.Task[socket.socket]) -> None:
    """Close what came too late."""
    with suppress(OSError, asyncio.CancelledError):
        late.result().close()
