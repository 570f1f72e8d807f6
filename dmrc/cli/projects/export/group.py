"""`dmrc export`: a project for another place than this machine."""

from __future__ import annotations

import click

from dmrc.cli.projects.export.kubernetes import kubernetes


@click.group(epilog="Example: dmrc export kubernetes -o kubernetes")
def export() -> None:
    """Write a compose project with its models for another place than this machine."""


export.add_command(kubernetes)
