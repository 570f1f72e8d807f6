"""`dmrc up`: the models of a compose project, then the project."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from dmrc.cli.app import App, pass_app
from dmrc.cli.options import project_options
from dmrc.cli.projects.setup.replaying import ReplayWish
from dmrc.cli.projects.setup.selection import Selection
from dmrc.cli.replay_options import ReplayCommand, replay_options

if TYPE_CHECKING:  # heavy, and help needs none of it
    from dmrc.cli.projects.setup.prepare import Prepared
    from dmrc.compose.command import Compose, ComposeOptions
    from dmrc.project import Injection, Project

_EPILOG = """\b
Example: dmrc up -d --build web -- --wait
Example: dmrc up --replay=tests/cassettes api -- --exit-code-from api"""


@click.command(cls=ReplayCommand, epilog=_EPILOG, context_settings={"allow_interspersed_args": True})
@project_options
@replay_options
@click.option("-d", "--detach", is_flag=True, help="Start the containers and return.")
@click.option("--build", is_flag=True, help="Build images before the containers start.")
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED, metavar="[SERVICE...] [-- COMPOSE ARGUMENTS]")
@pass_app
def up(
    app: App,
    selection: Selection,
    replaying: ReplayWish,
    detach: bool,
    build: bool,
    arguments: tuple[str, ...],
) -> None:
    """Pull, serve and inject the models of a compose project, then run docker compose up.

    What follows a -- is passed on to docker compose up. The exit code is Compose's own once Compose has started.
    With --record or --replay it is 1 where a request was not recorded and Compose has nothing to say.
    """
    compose, options = _reading(selection)

    import os
    import sys

    from dmrc.cli.progress import note
    from dmrc.cli.projects.setup.compose_up import ComposeUp
    from dmrc.cli.projects.setup.prepare import PrepareOptions, prepare
    from dmrc.cli.projects.setup.reaching import check_reach
    from dmrc.cli.projects.setup.read_project import read_project, upstream_keys
    from dmrc.cli.projects.setup.replay_report import settle_recording
    from dmrc.cli.projects.setup.replaying import check_replay
    from dmrc.cli.projects.setup.started import containers, for_compose, started, words
    from dmrc.docker_context import docker_endpoint

    endpoint = docker_endpoint(os.environ)
    project = read_project(app, options, compose=compose, named=words(arguments), replaying=replaying)
    flags = [*(["--detach"] if detach else []), *(["--build"] if build else [])]
    starting = started(project, arguments)
    numbers = containers(starting, arguments)
    models = project.models_of(service for service in starting if numbers[service.name] or service.provides)
    if not models and not any(service in project.callers for service in starting):
        note(f"no service that starts uses a model of project '{project.name}'; running docker compose up as it is")
        compose.become(options, None, ["up", *flags, *arguments])
    check_reach(app, endpoint, project)
    settle_recording(app, project)
    for line in check_replay(project, starting, app.settings.capture):
        note(line)
    keys = upstream_keys(project, models, options, os.environ)
    rest = for_compose(project, arguments)
    prepared = prepare(app, project, PrepareOptions(endpoint.host, keys, models, becomes_compose=rest is not None))
    injected = _injected(app, project, prepared, endpoint.host)
    if rest is None:
        return  # what was named are models: there is no container to start
    sys.exit(ComposeUp(compose, options, (*flags, *rest), endpoint, numbers).run(app, project, injected, prepared.run))


def _reading(selection: Selection) -> tuple[Compose, ComposeOptions]:
    """Return Compose, which reads the project while the rest is imported: that takes as long.

    What it says is not kept for the next time. Which files take part only Compose can tell (`include`, `extends`,
    `env_file`), by reading them all; and they may hold secrets, which nobody expects in one more place.
    """
    import os

    from dmrc.compose.command import Compose

    options = selection.options()
    compose = Compose(os.environ)
    compose.begin(options)
    return compose, options


def _injected(app: App, project: Project, prepared: Prepared, docker_host: str) -> dict[str, Injection]:
    """Return what each service is given, plugins' additions too, and say what there is to say of it."""
    import os
    from dataclasses import replace

    from dmrc.cli.progress import note
    from dmrc.cli.projects.setup.injection import load_plugins, what_to_say, with_plugins
    from dmrc.compose.override import injections
    from dmrc.docker_context import no_proxy_of_docker

    load_plugins(app, project)
    gateway = replace(prepared.gateway, no_proxy=no_proxy_of_docker(os.environ, docker_host))
    injected = with_plugins(app, project, injections(project, prepared.keys, gateway))
    for line in what_to_say(project, injected):
        note(line)
    return injected
