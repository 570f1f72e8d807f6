"""`dmrc ps`: the runners."""

from __future__ import annotations

import click

from dmrc.cli.app import App, pass_app
from dmrc.cli.client import Document
from dmrc.cli.options import json_option

_HEADERS = ("MODEL", "ENGINE", "MODE", "STATE", "CONTEXT", "SLOTS", "WAITING", "MEMORY", "UNTIL")


@click.command(epilog="Example: dmrc ps --json | jq '.[].model'")
@json_option
@pass_app
def ps(app: App, as_json: bool) -> None:
    """List the models that run: their state, context, slots in use, queue, memory, and when they go.

    One that loads shows for how long it does, and one that waits for memory is listed too.
    """
    import json

    from dmrc.cli.tables import print_table

    runners = app.daemon.runners()
    if as_json:
        click.echo(json.dumps(runners, indent=2))
        return
    print_table(_HEADERS, [_row(runner) for runner in runners])


def _row(runner: Document) -> list[str]:
    from dmrc.cli.tables import size
    from dmrc.reference import Reference

    resident, estimated = runner["memory_resident_bytes"], runner["memory_estimated_bytes"]
    memory = resident if isinstance(resident, int) else estimated
    return [
        str(runner["model"]) if runner["upstream"] else Reference.parse(str(runner["model"])).display(),
        str(runner["engine"]),
        str(runner["mode"]),
        str(runner["state"]),
        str(runner["context_size"] or "-"),
        f"{runner['in_use']}/{runner['parallel'] or '-'}",
        str(runner["waiting"]),
        size(memory if isinstance(memory, int) else None),
        _until(runner),
    ]


def _until(runner: Document) -> str:
    """Return when it goes; of one that is not ready, how long it has waited or loaded, or that it is going."""
    import time

    from dmrc.cli.tables import duration

    began = runner["began_at"]
    so_far = duration(max(0.0, time.time() - began)) if isinstance(began, float) else "-"
    match runner["state"]:
        case "waiting":
            return f"waits for memory, {so_far}"
        case "starting":
            return f"loads, {so_far}"
        case "draining":
            return "goes when idle"
    expires = runner["expires_at"]
    if isinstance(expires, float):
        return f"{duration(max(0.0, expires - time.time()))} from now"
    return "for ever" if runner["keep_alive_seconds"] == -1 else "in use"
