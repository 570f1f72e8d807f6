"""An engine whose servers are children of the daemon, on a unix socket each."""

from __future__ import annotations

import abc
from collections.abc import Callable, Sequence

from dmrc.engines.engine import GGUF, Launch, Server
from dmrc.engines.failures import Cause
from dmrc.engines.plain_engine import PlainEngine


class ChildEngine(PlainEngine, abc.ABC):
    """What holds for most engines: see `Engine`. One of them says its `name`, its `program` and its `command`."""

    program: str
    """What messages call it: the path of a binary, or a package with its version."""
    formats: frozenset[str] = frozenset({GGUF})
    causes: Sequence[Cause] = ()
    """Lines in its log that say why it did not start."""

    @abc.abstractmethod
    def command(self, launch: Launch) -> list[str]:
        """Return the command of a child that answers `GET /health` and the OpenAI routes on the launch's socket.

        `GET /health` answers 200 when the model is loaded, and not before. The child must end on SIGTERM, and when its
        parent does: `dmrc.engines.parent_death` does that for a program in Python,
        `dmrc.engines.exec_with_parent_death` for any other.
        """

    async def start(self, launch: Launch, mask: Callable[[str], str] = str) -> Server:
        from dmrc.engines.child_server import ChildServer  # heavy, and who only checks options needs it not
        from dmrc.engines.process import Child, EngineProcess

        child = Child(
            command=self.command(launch),
            program=self.program,
            model=launch.name,
            socket=launch.socket,
            log=launch.log,
            causes=self.causes,
        )
        return ChildServer(await EngineProcess.start(child, mask), launch.socket)

    def describe(self) -> str:
        """Return its program."""
        return self.program
