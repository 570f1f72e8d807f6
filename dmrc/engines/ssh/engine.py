"""The engine `ssh`: the dmrc of another machine, reached by the person's own ssh, instead of a child of ours."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from dmrc import hookimpl
from dmrc.engines.engine import Engine, Finding, Launch, Server
from dmrc.engines.options_check import SPECIAL_OPTIONS
from dmrc.engines.plain_engine import PlainEngine
from dmrc.errors import EngineError
from dmrc.project import SSH_ENGINE, ServingOptions
from dmrc.settings import Settings

if TYPE_CHECKING:  # the command line has no use for a client
    from dmrc.engines.ssh.host import Host
    from dmrc.engines.ssh.hosted_use import HostedModel

_Known = tuple[str, str, ServingOptions]

_MOST_KEPT = 1024


class SshEngine(PlainEngine):
    """Hosts: nothing is pulled, loaded or counted here. For one event loop."""

    name = SSH_ENGINE
    usual_parallel = 256
    special_options = frozenset(SPECIAL_OPTIONS)

    def __init__(self, settings: Settings) -> None:
        """Connect to nothing yet."""
        self._settings = settings
        self._hosts: dict[str, Host] = {}
        self._told: dict[_Known, HostedModel] = {}

    @property
    def hosts(self) -> Sequence[Host]:
        """Return the hosts that were asked for since the daemon runs."""
        return list(self._hosts.values())

    def host(self, name: str) -> Host:
        """Return a host, `ssh://box`, which everybody shares."""
        from dmrc.engines.ssh.host import Host

        if not self._hosts:
            for stale in self._settings.paths.run.glob("host-*.sock"):  # a killed daemon's
                stale.unlink(missing_ok=True)
        if name not in self._hosts:
            self._hosts[name] = Host(name, self._settings.paths.run)
            self._hosts[name].remote_command = self._settings.remote_command
        return self._hosts[name]

    def told(self, model: str, options: ServingOptions) -> HostedModel | None:
        """Return what its host has said of a model with these options; None where it was not asked yet."""
        return self._told.get((str(options.host), model, options))

    def _keep(self, known: _Known, found: HostedModel) -> None:
        """Keep what a host has said; what was said longest ago goes, and is asked anew where it is wanted."""
        self._told.pop(known, None)
        self._told[known] = found
        if len(self._told) > _MOST_KEPT:
            del self._told[next(iter(self._told))]

    async def described(self, model: str, options: ServingOptions) -> HostedModel:
        """Return the same; the host is asked where it was not yet.

        Raises:
            UpstreamError: The host cannot be reached.
            ModelNotFoundError: It has not the model.
        """
        return self.told(model, options) or await self.ask(model, options, "describe")

    async def ask(self, model: str, options: ServingOptions, what: str) -> HostedModel:
        """Ask a host for a model, to `describe` it or to `load` it, and keep what it says."""
        from dmrc.engines.ssh.hosted_use import HostedUse
        from dmrc.engines.ssh.session import HostSession

        session = HostSession(self.host(str(options.host)), HostedUse.of(model, options))
        try:
            found = await session.told(what)
        finally:
            await session.close()
        self._keep((str(options.host), model, options), found)
        return found

    async def start(self, launch: Launch, mask: Callable[[str], str] = str) -> Server:
        """Reach it."""
        from dmrc.engines.ssh.server import HostServer

        del mask
        if launch.options.host is None:
            raise EngineError(f"model '{launch.name}' names no host")
        host, name = launch.options.host, launch.name
        return HostServer(self.host(host), name, launch.options, lambda found: self._loaded(host, name, found))

    def _loaded(self, host: str, model: str, found: HostedModel) -> None:
        """Ask anew what a model is where its name means another one by now."""
        self._told = {
            known: told
            for known, told in self._told.items()
            if known[:2] != (host, model) or told.digest == found.digest
        }

    def surroundings(self) -> Finding | None:
        """Look at the host that the environment names."""
        from dmrc.engines.ssh.look import look

        host = self._settings.host
        return None if host is None else look(host, self._settings.remote_command)

    async def close(self) -> None:
        """End the connections."""
        for host in self.hosts:
            await host.close()

    def describe(self) -> str:
        return "the dmrc of another machine, named by x-dmrc: {host: ssh://HOST}"


@hookimpl
def dmrc_register_engines(settings: Settings) -> Sequence[Engine]:
    return [SshEngine(settings)]
