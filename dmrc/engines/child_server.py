"""A server of ours that runs as a child of the daemon."""

from __future__ import annotations

from pathlib import Path

from dmrc.engines.http_client.connectors import UnixConnector
from dmrc.engines.http_client.session import HttpSession
from dmrc.engines.process import EngineProcess
from dmrc.engines.session import Session


class ChildServer:
    """A child that was started; see `Server`."""

    def __init__(self, process: EngineProcess, socket: Path) -> None:
        """Speak to `process` on `socket`, once it is ready."""
        self.process = process
        self._socket = socket

    async def wait_ready(self) -> Session:
        """Wait until it answers.

        Raises:
            EngineStartError: It does not.
            InsufficientMemoryError: It ended for want of memory.
        """
        await self.process.wait_ready()
        return HttpSession(UnixConnector(self._socket))
