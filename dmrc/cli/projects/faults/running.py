"""Which project that is up `dmrc faults` means, and what the shell completes."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click
from click.shell_completion import CompletionItem

from dmrc.cli.app import App

if TYPE_CHECKING:
    from dmrc.fields import JsonObject

R = TypeVar("R")


def running_options(command: Callable[..., R]) -> Callable[..., R]:
    """Add `-f` and `-p`: they name a project that is up, by its compose file or its name."""
    named = click.option("-p", "--project-name", metavar="NAME", help="Name of the project.")
    filed = click.option("-f", "--file", "files", multiple=True, metavar="FILE", help="Its first compose file.")
    return filed(named(command))


def running_project(app: App, files: tuple[str, ...], name: str | None) -> str:
    """Return the name of the project that is meant: by default the one of the compose file here.

    Raises:
        NotFoundError: No such project is up, or several of its directory are.
    """
    from dmrc.errors import NotFoundError
    from dmrc.suggestions import did_you_mean

    known = _known(app)
    if name is not None:
        names = [str(one["name"]) for one in known]
        if name not in names:
            raise NotFoundError(f"project '{name}' is not up{did_you_mean(name, names)}", remedy="Run: dmrc up")
        return name
    directory = _directory(files)
    found = [str(one["name"]) for one in known if Path(str(one["directory"])) == directory]
    if not found:
        raise NotFoundError(f"no project of '{directory}' is up", remedy="Run dmrc up, or name one with -p")
    if len(found) > 1:
        raise NotFoundError(f"projects {', '.join(found)} of '{directory}' are up", remedy="Name one with -p")
    return found[0]


def planned(app: App) -> list[JsonObject]:
    """Return the plans that hold in all projects; see `FaultRoutes`. None where the daemon does not run."""
    from dmrc.errors import DaemonNotRunningError
    from dmrc.json_values import items_of

    try:
        return items_of(app.daemon.request("GET", "/faults"))
    except DaemonNotRunningError:
        return []


class ServiceName(click.ParamType[str]):
    """A service of a project that is up and has faults, which the shell can complete."""

    name = "service"

    def shell_complete(self, context: click.Context, _param: click.Parameter, incomplete: str) -> list[CompletionItem]:
        """Return the services that begin so: of the compose file here, else those with faults."""
        from dmrc.errors import DmrcError

        app = context.ensure_object(App)
        try:
            rows = planned(app)
        except DmrcError:
            return []
        names = {str(row["service"]) for row in rows if row["service"]}
        return [CompletionItem(name) for name in sorted(names | _services_here()) if name.startswith(incomplete)]


class FaultWords(click.ParamType[str]):
    """`rate_limit=0.2,retry_after=2`, of which the shell can complete the kind."""

    name = "fault"

    def shell_complete(self, _context: click.Context, _param: click.Parameter, incomplete: str) -> list[CompletionItem]:
        """Return the kinds that begin so."""
        from dmrc.project import FAULT_KINDS

        return [CompletionItem(kind) for kind in FAULT_KINDS if kind.startswith(incomplete)]


def _services_here() -> set[str]:
    """Return the services of the compose file here, as far as it can be read without Compose."""
    import os

    from dmrc.cli.projects.setup.read_project import document_without_docker
    from dmrc.cli.projects.setup.selection import Selection
    from dmrc.errors import DmrcError
    from dmrc.fields import mapping

    try:
        document = document_without_docker(Selection().options(os.environ))
        return set(mapping(document.get("services"), "services"))
    except DmrcError:
        return set()


def _known(app: App) -> list[JsonObject]:
    from dmrc.json_values import items_of

    return items_of(app.daemon.request("GET", "/projects"))


def _directory(files: tuple[str, ...]) -> Path:
    """Return where a project's first compose file lies, as a registration has it."""
    from dmrc.cli.projects.setup.selection import Selection

    options: Any = Selection(files=files).options()
    first: Path = options.files[0]
    return first.parent
