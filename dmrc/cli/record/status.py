"""`dmrc status`: the daemon."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from dmrc.cli.app import App, pass_app
from dmrc.cli.options import json_option
from dmrc.project import GATEWAY_HOST

if TYPE_CHECKING:
    from dmrc.fields import JsonObject


@click.command(epilog="Example: dmrc status --json")
@json_option
@pass_app
def status(app: App, as_json: bool) -> int:
    """Tell whether the daemon runs, where it listens, and for which projects. Exits with 1 when it does not run."""
    import json

    from dmrc.cli.tables import ago

    found = app.daemon.status()
    if as_json:
        click.echo(json.dumps(status_document(app), indent=2))
    elif found is None:
        click.echo("The daemon does not run. It starts by itself: dmrc up, dmrc run, or dmrc serve")
    else:
        addresses, projects, started = found["addresses"], found["projects"], found["started_at"]
        names = ", ".join(map(str, projects)) if isinstance(projects, list) and projects else "none"
        click.echo(f"The daemon runs (version {found['version']}).")
        for address in addresses if isinstance(addresses, list) else []:
            click.echo(f"Listens:   http://{address}:{found['port']}/engines/v1")
        if isinstance(listen := found.get("listen"), dict):
            click.echo(f"Listens:   {listen['url']}  (other machines, with a key)")
        click.echo(f"Started:   {ago(started if isinstance(started, float) else None)}")
        click.echo(f"Projects:  {names}")
        click.echo(f"Runners:   {found['runners']}")
        click.echo(f"State:     {found['home']}")
        for line in fault_lines(found):
            click.echo(f"Faults:    {line}")
        for line in ended_lines(found):
            click.echo(f"Ended:     {line}")
    return 0 if found is not None else 1


def status_document(app: App) -> JsonObject:
    """Return the status as JSON: Docker Model Runner's keys, then the daemon's own.

    Shape: `{"running": true, "backends": {"llama.cpp": "Running: …"}, "kind": "Docker Engine", "endpoint": "http://…/",
    "endpointHost": "http://127.0.0.1:12434/engines/v1/", "version": "0.1.0", "pid": 1, …}`
    """
    from dmrc.engines.engine_state import backend_state

    found = app.daemon.status()
    route = f":{app.settings.port}/engines/v1/"
    return {
        "running": found is not None,
        "backends": {
            name: backend_state(engine.describe(), is_running=found is not None) for name, engine in app.engines.items()
        },
        "kind": "Docker Engine",
        "endpoint": f"{_container_url(app, is_running=found is not None)}/",
        "endpointHost": f"http://127.0.0.1{route}",
        **(found or {}),
    }


def _container_url(app: App, *, is_running: bool) -> str:
    """Return the base URL of containers: one that listens where the daemon runs, and needs no name that they lack."""
    import os

    from dmrc.cli.progress import note
    from dmrc.cli.projects.setup.reaching import attach, from_elsewhere
    from dmrc.cli.serving.key.opening import container_base_url
    from dmrc.compose.network import bridge_gateway
    from dmrc.docker_context import docker_endpoint
    from dmrc.errors import DockerError, PortTakenError

    try:
        endpoint = docker_endpoint(os.environ)
        if not endpoint.is_local:
            return f"{from_elsewhere(app, endpoint).server}/engines/v1"
        host = endpoint.host
        address = attach(app, host).address if is_running else bridge_gateway(host) or "127.0.0.1"
    except DockerError:
        return f"http://{GATEWAY_HOST}:{app.settings.port}/engines/v1"  # there are no containers to reach it
    except PortTakenError as error:
        note(f"containers cannot reach the daemon: {error}")
        return f"http://{GATEWAY_HOST}:{app.settings.port}/engines/v1"
    return container_base_url(app, address)


def fault_lines(status: JsonObject) -> list[str]:
    """Return a line for each service whose requests fail on purpose."""
    faults = status.get("faults")
    return [str(line) for line in faults] if isinstance(faults, list) else []


def ended_lines(status: JsonObject) -> list[str]:
    """Return a line for each runner that ended lately when nobody had asked for it, the newest last."""
    from dmrc.cli.tables import ago
    from dmrc.json_values import items_of

    return [f"{row['cause']}, {ago(float(str(row['at'])))}" for row in items_of(status.get("ended"))]
