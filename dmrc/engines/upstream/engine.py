"""The engine `upstream`: any OpenAI-compatible server, on this machine or another, instead of a child of ours."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from dmrc import hookimpl
from dmrc.answer import ServerKind
from dmrc.engines.engine import Engine, Launch, Server
from dmrc.engines.local_model import LocalModel
from dmrc.engines.plain_engine import PlainEngine
from dmrc.errors import EngineError, RuntimeFlagError
from dmrc.exchange import Operation
from dmrc.project import UPSTREAM_ENGINE, ServingOptions
from dmrc.settings import Settings


class UpstreamEngine(PlainEngine):
    """A server that somebody else runs, or several: nothing is pulled, loaded or counted."""

    name = UPSTREAM_ENGINE
    server: ServerKind = "upstream"
    usual_parallel = 256

    def check(self, options: ServingOptions, companions: Sequence[str] = ()) -> None:  # noqa: ARG002 has none
        """Refuse runtime flags; see `Engine`."""
        if options.runtime_flags:
            raise RuntimeFlagError(
                f"runtime flag '{options.runtime_flags[0]}' has no effect on an upstream", remedy="Remove it"
            )

    def settle(
        self, name: str, model: LocalModel | None, options: ServingOptions, operation: Operation | None
    ) -> ServingOptions:
        """Return them as they are: the upstream decides the rest."""
        del name, model, operation
        return options

    async def start(self, launch: Launch, mask: Callable[[str], str] = str) -> Server:
        """Reach it."""
        # The command line has no use for a client.
        from dmrc.engines.upstream.server import SeveralUpstreams, UpstreamServer

        del mask
        upstream = launch.options.upstream
        if upstream is None:
            raise EngineError(f"model '{launch.name}' names no upstream")
        if upstream.others:
            return SeveralUpstreams(launch.name, upstream.all, launch.upstream_keys, launch.parallel)
        return UpstreamServer(upstream, launch.upstream_keys[0])

    def describe(self) -> str:
        return "any OpenAI-compatible server, named by x-dmrc: {upstream: URL}"


@hookimpl
def dmrc_register_engines(settings: Settings) -> Sequence[Engine]:  # noqa: ARG001 the hook's argument
    return [UpstreamEngine()]
