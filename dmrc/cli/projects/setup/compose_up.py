"""Starts the containers of a project that is ready: as the user's own Compose, or waiting for what a run comes to."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass

from dmrc.cli.app import App
from dmrc.cli.foreground import run_in_foreground
from dmrc.cli.progress import note
from dmrc.cli.projects.setup.prepare import override_path
from dmrc.cli.projects.setup.project_lock import project_lock
from dmrc.cli.projects.setup.replay_report import HOW_TO_SEE_IT, end_of_run
from dmrc.cli.projects.setup.replaying import what_holds
from dmrc.cli.projects.setup.started import returns_by_itself
from dmrc.compose.command import Compose, ComposeOptions
from dmrc.compose.override import render, write
from dmrc.docker_context import DockerEndpoint
from dmrc.fields import JsonObject
from dmrc.project import Injection, Project


@dataclass(frozen=True, slots=True)
class ComposeUp:
    """One `docker compose up`."""

    compose: Compose
    """The user's own."""
    options: ComposeOptions
    """What stands before `up`."""
    arguments: tuple[str, ...]
    """What follows it."""
    endpoint: DockerEndpoint
    """The engine that runs the containers."""
    containers: Mapping[str, int]
    """How many containers each service is to have."""

    def run(self, app: App, project: Project, injected: Mapping[str, Injection], run: JsonObject | None) -> int:
        """Write the override file, and become Compose. Where cassettes are used run it, and return the exit code.

        A Compose that returns before its containers end leaves nothing to wait for: it is become then, too.
        """
        override = override_path(app, project.name)
        words = ["up", *self.arguments]
        with project_lock(app, project.name) as lock:
            write(override, render(project, injected, is_elsewhere=not self.endpoint.is_local))
            ends_early = returns_by_itself(self.arguments)
            if ends_early:
                lock.keep_for_compose()
            else:
                lock.keep_until_created(self.endpoint.host, self.containers)
            if what := what_holds(project.replay):
                note(f"{what}; {HOW_TO_SEE_IT}" if ends_early else what)
            if what is None or ends_early:
                self.compose.become(self.options, override, words)
        code = run_in_foreground(self.compose.argv(self.options, override, words), os.environ)
        return end_of_run(app, project, code, run)
