"""Upstreams that are reached instead of started."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from dmrc.engines.process import EngineProcess
from dmrc.engines.replicas import Replicas
from dmrc.engines.session import Session
from dmrc.engines.upstream.replica import UpstreamReplica
from dmrc.engines.upstream.replicas import UpstreamReplicas
from dmrc.engines.upstream.session import UpstreamSession
from dmrc.engines.upstream.several import SeveralSession
from dmrc.project import UpstreamPlace


class UpstreamServer:
    """See `Server`: it has no child."""

    process: EngineProcess | None = None
    replicas: Replicas | None = None

    def __init__(self, upstream: UpstreamPlace, key: str | None) -> None:
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


class SeveralUpstreams:
    """Several of them that serve the same model; see `Server`."""

    process: EngineProcess | None = None

    def __init__(
        self, model: str, upstreams: Sequence[UpstreamPlace], keys: Sequence[str | None], parallel: int
    ) -> None:
        """Connect at the first request; each gets its own of the `keys`, and `parallel` requests at the same time."""
        named = zip(_names(upstreams), upstreams, keys, strict=True)
        self.replicas = UpstreamReplicas(model, [UpstreamReplica(*each, parallel) for each in named])
        self._session = SeveralSession(self.replicas, upstreams[0].model)

    async def wait_ready(self) -> Session:
        """Wait for the first that is there; the others may come later.

        Raises:
            UpstreamError: None is; each is named.
        """
        try:
            if await self.replicas.first_ready():
                return self._session
        except BaseException:
            await self._session.close()
            raise
        await self._session.close()
        raise self.replicas.none_answers()


def _names(upstreams: Sequence[UpstreamPlace]) -> list[str]:
    """Return what each is called: its URL, with a number where another one has the same."""
    seen: Counter[str] = Counter()
    names = []
    for each in upstreams:
        seen[each.url] += 1
        names.append(each.url if seen[each.url] == 1 else f"{each.url} ({seen[each.url]})")
    return names
