"""The control port of a replica, and who connects to it."""

from __future__ import annotations

import asyncio
import json

import pytest
from dmrc_ray import control


@pytest.mark.parametrize("hello", [b"", json.dumps({"key": "wr\u00f6ng", "bridge": "b"}).encode() + b"\n", b"[1]\n"])
def test_who_has_no_key_or_says_nothing_is_let_go(hello: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(control, "_PATIENCE_SECONDS", 0.2)
    mistakes: list[dict[str, object]] = []

    async def no_log(_lines: int) -> str:
        raise AssertionError

    async def main() -> bytes:
        asyncio.get_running_loop().set_exception_handler(lambda _loop, context: mistakes.append(context))
        server = await control.Leases().serve("127.0.0.1", "key", no_log)
        async with server, asyncio.timeout(5):
            reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
            writer.write(hello)
            try:
                return await reader.read()
            finally:
                writer.close()

    assert asyncio.run(main()) == b""
    assert not mistakes
