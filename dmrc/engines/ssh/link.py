"""One ssh process to a host, and what is said through it."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections import deque
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import cast

from dmrc.background import begin
from dmrc.engines.http_client.connection_options import ConnectionOptions
from dmrc.engines.http_client.connectors import UnixConnector
from dmrc.engines.http_client.session import HttpSession
from dmrc.engines.ssh.command import HELLO

_END_SECONDS = 3.0
_LOOK_SECONDS = 5.0
_STILL_SECONDS = 0.5
_LINES = 20


class _HostConnector(UnixConnector):
    """Connects to the socket that ssh listens on; our own server at its end keeps connections after streams."""

    options = ConnectionOptions()


class Link:
    """One ssh process that runs, and the sessions through it."""

    def __init__(self, process: asyncio.subprocess.Process, socket: Path, on_end: Callable[[Link], None]) -> None:
        """Speak through `socket`, which the process listens on; `on_end` hears when it leads nowhere any more."""
        self.process = process
        self.session = HttpSession(_HostConnector(socket))
        self.ended = asyncio.Event()
        """Set when it leads nowhere any more."""
        self.said: deque[str] = deque(maxlen=_LINES)
        """What ssh and the other end wrote to stderr last."""
        self._input = cast(asyncio.StreamWriter, process.stdin)
        self._output = cast(asyncio.StreamReader, process.stdout)
        self._errors = cast(asyncio.StreamReader, process.stderr)
        self._socket = socket
        self._on_end = on_end
        self._watch: asyncio.Task[None] | None = None
        self._stderr = begin(self._listen(), "the reading of what ssh says", expected=OSError)

    async def hello(self) -> Mapping[str, object] | None:
        """Return what the other end says of itself; None when the connection ended before."""
        while line := await self._output.readline():
            text = line.decode(errors="replace")
            if text.startswith(HELLO):
                self._watch = begin(self._until_end(), "the watch over a connection by ssh")
                found = json.loads(text.removeprefix(HELLO))
                return found if isinstance(found, dict) else {}
        await self.process.wait()
        await self._stderr
        return None

    async def close(self) -> None:
        """End it: by the end of its input, which ends the other end, and so ssh; by force where that does not.

        `said` is complete then.
        """
        await self.session.close()
        if self.process.returncode is None:
            self._input.close()
            for end in (self.process.terminate, self.process.kill):
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(_END_SECONDS):
                        await self.process.wait()
                        break
                with contextlib.suppress(ProcessLookupError):
                    end()
            await self.process.wait()
        with contextlib.suppress(TimeoutError):  # a shared connection of the person's own keeps it open
            async with asyncio.timeout(_STILL_SECONDS):
                await asyncio.shield(self._stderr)
        self._socket.unlink(missing_ok=True)
        self.ended.set()

    async def is_broken(self) -> bool:
        """Return whether it was the connection that broke, or the dmrc at its end, and nothing behind that."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_STILL_SECONDS):
                await self.ended.wait()
        if not self.ended.is_set() and not await self.leads_there():
            await self.close()
        return self.ended.is_set()

    async def leads_there(self) -> bool:
        """Return whether the dmrc there answers."""
        try:
            async with asyncio.timeout(_LOOK_SECONDS):
                with contextlib.closing(await self.session.get("/status", {"connection": "close"})) as answer:
                    return answer.status == 200
        except (ConnectionError, TimeoutError):
            return False

    async def _until_end(self) -> None:
        """Wait for the end of the other end, which ssh may outlive while something goes through it."""
        while await self._output.read(4096):
            pass
        self.ended.set()
        self._on_end(self)

    async def _listen(self) -> None:
        while not self._errors.at_eof():
            with contextlib.suppress(ValueError):  # of a line that is too long; unread, it would hold up ssh
                if line := await self._errors.readline():
                    self.said.append(line.decode(errors="replace").rstrip()[:500])
