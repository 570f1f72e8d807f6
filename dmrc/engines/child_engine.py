"""An engine whose servers are children of the daemon, each on a unix socket, or on a port of loopback."""

from __future__ import annotations

import abc
import re
import socket
from collections.abc import Callable, Sequence
from dataclasses import replace

from dmrc.engines.engine import Launch, Server
from dmrc.engines.failures import Cause
from dmrc.engines.local_model import GGUF
from dmrc.engines.plain_engine import PlainEngine


class ChildEngine(PlainEngine, abc.ABC):
    """What holds for most engines: see `Engine`. One of them says its `name`, its `program` and its `command`."""

    program: str
    """What messages call it: the path of a binary, or a package with its version."""
    formats: frozenset[str] = frozenset({GGUF})
    has_port: bool = False
    """Whether its server listens on `Launch.port`, which everybody on this machine reaches, and on no unix socket."""
    has_processes: bool = False
    """Whether its server starts processes that hold the model: what they use counts as the child's."""
    has_replicas: bool = False
    """Whether it serves nothing itself, and tells on its socket which servers do: see `child_replicas`."""
    causes: Sequence[Cause] = ()
    """Lines in its log that say why it did not start."""
    load_notes: re.Pattern[str] | None = None
    """Lines in its log that are kept until `device_use` has read them, once it answers; None: none."""

    @abc.abstractmethod
    def command(self, launch: Launch) -> list[str]:
        """Return the command of a child that answers `GET /health` and OpenAI's routes on the launch's socket or port.

        `GET /health` answers 200 when the model is loaded, and not before. The child must end on SIGTERM, and when its
        parent does: `dmrc.engines.parent_death` does that for a program in Python,
        `dmrc.engines.exec_with_parent_death` for any other.
        """

    async def start(self, launch: Launch, mask: Callable[[str], str] = str) -> Server:
        from dmrc.engines.child_server import ChildServer  # heavy, and who only checks options needs it not
        from dmrc.engines.http_client.connectors import UnixConnector
        from dmrc.engines.http_client.tcp_connector import ChildTcpConnector
        from dmrc.engines.process import Child, EngineProcess

        if self.has_port:
            launch = replace(launch, port=_free_port())
        connector = UnixConnector(launch.socket) if launch.port is None else ChildTcpConnector(launch.port)
        child = Child(
            command=self.command(launch),
            program=self.program,
            model=launch.name,
            socket=launch.socket,
            connector=connector,
            has_processes=self.has_processes,
            log=launch.log,
            causes=self.causes,
            notes=self.load_notes if launch.placement is not None and launch.placement.shares else None,
        )
        process = await EngineProcess.start(child, mask)
        return ChildServer(process, connector, self.name_there(launch), has_replicas=self.has_replicas)

    def name_there(self, launch: Launch) -> str | None:  # noqa: ARG002 for those who care
        """Return the name of the model that requests must bear; None where its server takes any."""
        return None

    def describe(self) -> str:
        """Return its program."""
        return self.program


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as found:
        port: int = found.getsockname()[1]
        return port
