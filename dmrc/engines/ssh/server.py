"""A model on a host that is reached instead of started."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from dmrc.engines.process import EngineProcess
from dmrc.engines.replicas import ReplicaState, ReplicaStateName
from dmrc.engines.session import Session
from dmrc.engines.ssh.host import Host
from dmrc.engines.ssh.hosted_use import HostedModel, HostedUse
from dmrc.engines.ssh.session import HostSession
from dmrc.errors import NotFoundError
from dmrc.project import ServingOptions, host_name


class HostReplicas:
    """The one place where a model on a host runs; see `Replicas`: with its slots, and its log."""

    def __init__(self, host: Host, session: HostSession) -> None:
        """Know nothing of its slots before it is loaded."""
        self.slots = 0
        self.notice: str | None = None
        self._host = host
        self._session = session

    def now(self) -> Sequence[ReplicaState]:
        """Return the host, which is not ready while there is no connection."""
        name = host_name(self._host.host)
        state: ReplicaStateName = "ready" if self._host.is_joined else "starting"
        return [ReplicaState(name, name, state, self.slots, self._session.in_use)]

    async def changed(self) -> None:
        """Wait until the connection comes or goes."""
        await self._host.changed()

    async def log(self, name: str, lines: int) -> str:
        """Return the last lines of the engine there."""
        if name != host_name(self._host.host):
            raise NotFoundError(f"there is no replica '{name}'", remedy="Run: dmrc ps")
        return await self._session.log(lines)


class HostServer:
    """See `Server`: its child is the other machine's."""

    process: EngineProcess | None = None

    def __init__(
        self, host: Host, model: str, options: ServingOptions, on_loaded: Callable[[HostedModel], None]
    ) -> None:
        """Load `model` there when it is waited for; `on_loaded` hears what is said of it then."""
        self._on_loaded = on_loaded
        self._session = HostSession(host, HostedUse.of(model, options))
        self.replicas = HostReplicas(host, self._session)

    async def wait_ready(self) -> Session:
        """Wait until it is loaded there.

        Raises:
            DmrcError: It is not: in the words of the dmrc there.
        """
        try:
            found = await self._session.told("load")
            self.replicas.slots = found.parallel or 1
            self._on_loaded(found)
        except BaseException:
            await self._session.close()
            raise
        return self._session
