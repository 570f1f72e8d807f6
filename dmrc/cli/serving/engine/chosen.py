"""What `install`, `use` and `remove` share: the builds, their names for the shell, and what they say at the end."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click
from click.shell_completion import CompletionItem

from dmrc.cli.app import App

if TYPE_CHECKING:
    from dmrc.engines.builds.build import Build
    from dmrc.engines.builds.builds import Builds
    from dmrc.engines.builds.proof import Proof
    from dmrc.installing.install import Installer

_PROOF_SECONDS = 120.0  # one of CUDA compiles, once, for a card of which it knows only the family

timeout_option = click.option(
    "--timeout",
    "seconds",
    type=click.FloatRange(min=1),
    default=_PROOF_SECONDS,
    show_default=True,
    metavar="SECONDS",
    help="How long the build may take to list its devices, load a tiny model and answer.",
)
"""`--timeout`, as the argument `seconds`."""


class BuildName(click.ParamType[str]):
    """The name of a build, which the shell can complete."""

    name = "name"

    def __init__(self, *, only_installed: bool = False) -> None:
        """Offer all builds, or those that dmrc installed."""
        self._only_installed = only_installed

    def shell_complete(self, context: click.Context, _param: click.Parameter, incomplete: str) -> list[CompletionItem]:
        """Return the names that begin so."""
        from dmrc.errors import DmrcError

        try:
            builds = builds_of(context.ensure_object(App))
        except DmrcError:
            return []
        found = builds.installed() if self._only_installed else builds.all()
        return [CompletionItem(build.name) for build in found if build.name.startswith(incomplete)]


def builds_of(app: App) -> Builds:
    """Return the builds of this state directory."""
    from dmrc.engines.builds.builds import Builds

    return Builds(app.settings.paths.engines, app.settings.llama_server)


def installer_of(app: App, builds: Builds, seconds: float = _PROOF_SECONDS) -> Installer:
    """Return what changes them."""
    from dmrc.cli.progress import spinner
    from dmrc.installing.install import Installer

    return Installer(builds, app.settings.paths.create().run, seconds, spinner)


def tell_in_use(app: App, builds: Builds, build: Build, proof: Proof) -> None:
    """Say which build is used from now on, and what is not so yet."""
    from dmrc.cli.progress import note
    from dmrc.cli.tables import size
    from dmrc.errors import DaemonError
    from dmrc.project import DEFAULT_ENGINE

    devices = ", ".join(f"{one.name} ({one.description}, {size(one.total_bytes)})" for one in proof.devices)
    note(f"build '{build.name}' (version {proof.version}) is in use: it answers, on {devices or 'the processor'}")
    if builds.is_set:
        note(f"Warning: DMRC_LLAMA_SERVER is set, and goes before it: {builds.in_use().label}")
    try:
        loaded = [runner for runner in app.daemon.runners() if runner["engine"] == DEFAULT_ENGINE]
    except DaemonError:
        return
    if loaded:
        note("Models that are loaded go on with the build that they have. To load them anew: dmrc unload --all")
