"""`dmrc engine use`: another build for the next runners."""

from __future__ import annotations

import click

from dmrc.cli.app import App, pass_app
from dmrc.cli.serving.engine.chosen import BuildName, builds_of, installer_of, tell_in_use, timeout_option


@click.command(epilog="Example: dmrc engine use xllamacpp")
@click.argument("name", type=BuildName())
@timeout_option
@pass_app
def use(app: App, name: str, seconds: float) -> None:
    """Use another build for the next models.

    NAME is one of dmrc engine list: what was installed, `llama-server` on PATH, or `xllamacpp`, which came with dmrc.
    It must list its devices, load a tiny model and answer first; else the former one stays. The daemon needs no
    restart, and models that are loaded keep the build that they have.
    """
    builds = builds_of(app)
    build, proof = installer_of(app, builds, seconds).use(name)
    tell_in_use(app, builds, build, proof)
