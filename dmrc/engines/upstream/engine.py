"""The engine `upstream`: any OpenAI-compatible server, on this machine or another, instead of a child of ours."""

from __future__ import annotations

from collections.abc import Sequence

from dmrc import hookimpl
from dmrc.engines.engine import Engine, RunnerConfiguration
from dmrc.errors import RuntimeFlagError
from dmrc.project import UPSTREAM_ENGINE
from dmrc.settings import Settings


class UpstreamEngine:
    """A server that somebody else runs: nothing is pulled, loaded or counted."""

    name = UPSTREAM_ENGINE

    def check(self, configuration: RunnerConfiguration, companions: Sequence[str] = ()) -> None:  # noqa: ARG002 has none
        """Refuse runtime flags; see `Engine`."""
        if configuration.runtime_flags:
            raise RuntimeFlagError(
                f"runtime flag '{configuration.runtime_flags[0]}' has no effect on an upstream", remedy="Remove it"
            )

    def describe(self) -> str:
        """Return what it is."""
        return "any OpenAI-compatible server, named by x-dmrc: {upstream: URL}"


@hookimpl
def dmrc_register_engines(settings: Settings) -> Sequence[Engine]:  # noqa: ARG001 the hook's argument
    """Register it."""
    return [UpstreamEngine()]
