"""An upstream that is reached instead of started."""

from __future__ import annotations

from dmrc.engines.process import EngineProcess
from dmrc.engines.replicas import Replicas
from dmrc.engines.session import Session
from dmrc.engines.upstream.session import UpstreamSession
from dmrc.project import Upstream


class UpstreamServer:
    """See `Server`: it has no child."""

    process: EngineProcess | None = None
    replicas: Replicas | None = None

    def __init__(self, upstream: Upstream, key: str | None) -> None:
        """Connect at the first request."""
        self._session = UpstreamSession(upstream, key)

    async def wait_ready(self) -> Session:
        """Ask whether it is there.

        Raises:
            UpstreamError: It is not, or refuses the key.
        """
        try:
            await self._session.check()
        except BaseException:
            await self._session.close()
            raise
        return self._session
