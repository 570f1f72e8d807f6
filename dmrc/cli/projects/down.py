"""`dmrc down`: the end of a project, of its keys and of its runners."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from dmrc.cli.app import App, pass_app
from dmrc.cli.options import project_options
from dmrc.cli.projects.setup.selection import Selection

if TYPE_CHECKING:
    from dmrc.compose.command import Compose, ComposeOptions


@click.command(epilog="Example: dmrc down -- --volumes")
@project_options
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED, metavar="[SERVICE...] [-- COMPOSE ARGUMENTS]")
@pass_app
def down(
    app: App,
    selection: Selection,
    arguments: tuple[str, ...],
) -> int:
    """Run docker compose down, then end the project's keys and unload what only it used.

    The models stay in the store. With names of services, only these are stopped and the project stays registered.
    Where there is no Compose, as on a machine that uses `dmrc exec` alone, only the keys end.
    """
    import os
    import shutil
    from urllib.parse import quote

    from dmrc.cli.progress import note
    from dmrc.cli.projects.setup.prepare import override_path
    from dmrc.cli.projects.setup.project_lock import project_lock
    from dmrc.compose.command import Compose
    from dmrc.errors import DaemonNotRunningError, DockerError
    from dmrc.fields import mapping, text

    compose: Compose | None = None
    try:
        (found := Compose(os.environ)).settle()
        compose = found
    except DockerError as error:
        if arguments:
            raise  # they are for Compose
        note(f"{error.message}: no container is stopped, only the project's keys end")
    options, document = _read(selection, compose)
    name, services = text(document.get("name"), "name"), mapping(document.get("services"), "services")
    override = override_path(app, name)
    with project_lock(app, name):
        code = _call(compose, options, document, ["down", *arguments]) if compose else 0
        if code != 0 or any(argument in services for argument in arguments):
            return code
        try:
            app.daemon.request("DELETE", f"/projects/{quote(name, safe='')}")
        except DaemonNotRunningError:
            _forget_without_daemon(app, name)
        shutil.rmtree(override.parent, ignore_errors=True)
    return code


def _read(selection: Selection, compose: Compose | None) -> tuple[ComposeOptions, dict[str, object]]:
    """Return the project as Compose prints it; where there is no file, as in Compose, `-p` is enough.

    Its models may be wrong by now, and are none of our business.
    """
    from dmrc.cli.projects.setup.read_project import document_without_docker
    from dmrc.compose.command import ComposeOptions
    from dmrc.errors import ProjectError

    try:
        options = selection.options()
    except ProjectError:
        if selection.project_name is None or selection.files:
            raise
        return ComposeOptions(files=(), project_name=selection.project_name), {"name": selection.project_name}
    return options, compose.config(options) if compose else document_without_docker(options)


def _call(compose: Compose, options: ComposeOptions, document: dict[str, object], arguments: list[str]) -> int:
    """Run Compose without what `dmrc up` added: that may name services that the file has no more."""
    import tempfile
    from pathlib import Path

    from dmrc.compose.override import render_without_providers

    text = render_without_providers(document)
    if text is None:
        return compose.call(options, None, arguments)
    with tempfile.TemporaryDirectory() as directory:
        override = Path(directory, "override.yaml")
        override.write_text(text)
        return compose.call(options, override, arguments)


def _forget_without_daemon(app: App, name: str) -> None:
    """End the keys in the database, and forget the secrets, so that a daemon that starts later does not know them.

    Raises:
        DaemonRunningError: One has started at this moment.
    """
    from dmrc import daemon_lock
    from dmrc.capture.secrets import KnownSecrets, memory_directory
    from dmrc.projects import Projects

    with daemon_lock.held(app.settings.paths.create().daemon_lock):
        KnownSecrets(memory_directory(app.settings.home)).forget(name)
        if app.settings.paths.registrations.exists():
            projects = Projects(app.settings.paths.registrations)
            projects.unregister(name)
            projects.close()
