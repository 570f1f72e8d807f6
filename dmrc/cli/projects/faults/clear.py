"""`dmrc faults clear`: no faults on purpose any more."""

from __future__ import annotations

import click

from dmrc.cli.app import App, pass_app
from dmrc.cli.projects.faults.running import ServiceName, running_options


@click.command(short_help="Let them fail no more.", epilog="Example: dmrc faults clear api")
@running_options
@click.option("--to-file", is_flag=True, help="Let what the compose file says hold again.")
@click.argument("service", required=False, type=ServiceName())
@pass_app
def clear(app: App, files: tuple[str, ...], project_name: str | None, to_file: bool, service: str | None) -> None:
    """Make no faults for SERVICE any more, or for no service: not those of the compose file either, until dmrc down."""
    import json
    from urllib.parse import quote, urlencode

    from dmrc.cli.progress import note
    from dmrc.cli.projects.faults.running import planned, running_project

    project = running_project(app, files, project_name)
    path = f"/projects/{quote(project, safe='')}/faults"
    if to_file:
        app.daemon.request("DELETE", f"{path}?{urlencode({'service': service})}" if service else path)
    else:
        app.daemon.request("PUT", path, json.dumps({"service": service, "plan": {}}))
    left = [row for row in planned(app) if row["project"] == project]
    for row in left:
        note(str(row["line"]))
    if not left:
        note(f"no faults are made on purpose in project {project}")
