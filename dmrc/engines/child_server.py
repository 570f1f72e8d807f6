"""A server of ours that runs as a child of the daemon."""

from __future__ import annotations

from dmrc.engines.child_replicas import ChildReplicas, ReplicaSession
from dmrc.engines.http_client.connectors import Connector
from dmrc.engines.http_client.session import HttpSession
from dmrc.engines.process import EngineProcess
from dmrc.engines.session import Session
from dmrc.errors import EngineStartError


class ChildServer:
    """A child that was started; see `Server`."""

    def __init__(
        self, process: EngineProcess, connector: Connector, model: str | None = None, *, has_replicas: bool = False
    ) -> None:
        """Speak to `process` by `connector`, once it is ready; `model` is what requests must call its model."""
        self.process = process
        self.replicas = ChildReplicas(connector) if has_replicas else None
        self._connector = connector
        self._model = model

    async def wait_ready(self) -> Session:
        """Wait until it answers.

        Raises:
            EngineStartError: It does not.
            InsufficientMemoryError: It ended for want of memory.
        """
        await self.process.wait_ready()
        session = HttpSession(self._connector)
        session.model = self._model
        if self.replicas is None:
            return session
        try:
            await self.replicas.changed()
        except ConnectionError as error:
            raise EngineStartError(f"the engine started, but {error}", remedy="See: dmrc logs") from error
        return ReplicaSession(session, self.replicas)
