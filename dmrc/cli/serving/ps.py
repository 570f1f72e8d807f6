"""`dmrc ps`: the runners."""

from __future__ import annotations

import click

from dmrc.cli.app import App, pass_app
from dmrc.cli.options import json_option
from dmrc.fields import JsonObject
from dmrc.project import RECORDED_ENGINE

_HEADERS = (
    *("MODEL", "ENGINE", "MODE", "STATE", "CONTEXT", "SLOTS", "WAITING", "PROCESSOR", "MEMORY", "PROMPT CACHE"),
    "UNTIL",
)
_LONGEST_REPLICA = 160


@click.command(epilog="Example: dmrc ps --json | jq '.[].model'")
@json_option
@pass_app
def ps(app: App, as_json: bool) -> None:
    """List the models that run: their state, context, slots in use, queue, memory, and when they go.

    PROCESSOR is where the model is computed, by the share of its memory: on the processor, on graphics cards, or on
    both. MEMORY is that of the machine, and then that of each card.

    PROMPT CACHE is the memory for the prompts of earlier requests, and the share of all prompts that was not computed
    again.

    A model with several replicas has a line for each below its own: its name, its node, and how many of its slots are
    in use.

    One that loads shows for how long it does, and one that waits for memory is listed too.
    """
    import json

    from dmrc.cli.progress import note
    from dmrc.cli.record.status import ended_lines, fault_lines
    from dmrc.cli.tables import print_table

    runners = app.daemon.runners()
    if as_json:
        click.echo(json.dumps(runners, indent=2))
        return
    print_table(_HEADERS, [row for runner in runners for row in _rows(runner, app.settings.default_registry)])
    for runner in runners:
        if runner.get("notice"):
            note(str(runner["notice"]))
    status = app.daemon.status() or {}
    for line in (*fault_lines(status), *ended_lines(status)):
        note(line)


def _rows(runner: JsonObject, default_registry: str) -> list[list[str]]:
    """Return the line of a runner, and below it one for each of its replicas."""
    from dmrc.capture.summary import plain
    from dmrc.json_values import items_of

    rows = [_row(runner, default_registry)]
    for one in items_of(runner.get("replicas")):
        name, node = str(one["name"]), one["node"]
        place = name if node in (None, name) else f"{name} on {node}"
        cells = {
            "MODEL": f"  {plain(place, _LONGEST_REPLICA)}",
            "STATE": str(one["state"]),
            "SLOTS": f"{one['in_use']}/{one['slots']}",
        }
        rows.append([cells.get(name, "") for name in _HEADERS])
    return rows


def is_elsewhere(runner: JsonObject) -> bool:
    """Return whether a model need not be in the store: it is an upstream's, or a host's, or is replayed."""
    return bool(runner["upstream"] or runner.get("host") or runner["engine"] == RECORDED_ENGINE)


def _row(runner: JsonObject, default_registry: str) -> list[str]:
    from dmrc.reference import Reference

    name = str(runner["model"])
    return [
        name if is_elsewhere(runner) else Reference.parse(name).display(default_registry=default_registry),
        str(runner["engine"]),
        str(runner["mode"]),
        str(runner["state"]),
        str(runner["context_size"] or "-"),
        f"{runner['in_use']}/{runner['parallel'] or '-'}",
        str(runner["waiting"]),
        str(runner.get("processor") or "-"),
        _memory(runner),
        _prompt_cache(runner),
        _until(runner),
    ]


def _memory(runner: JsonObject) -> str:
    """Return the memory of the machine, and that of cards: `355.00 MB + 1.70 GB on CUDA0`."""
    from dmrc.cli.tables import size
    from dmrc.json_values import items_of

    resident, estimated = runner["memory_resident_bytes"], runner["memory_estimated_bytes"]
    memory = resident if isinstance(resident, int) else estimated
    held = [f"{size(float(str(one['memory_bytes'])))} on {one['name']}" for one in items_of(runner.get("devices"))]
    return " + ".join([size(memory if isinstance(memory, int) else None), *held])


def _prompt_cache(runner: JsonObject) -> str:
    """Return the memory for earlier prompts, and the share that it and the slots saved: `4.3 GB, 62 % reused`."""
    from dmrc.cli.tables import size

    space, computed, reused = (
        runner.get(name) for name in ("prompt_cache_bytes", "prompt_tokens_computed", "prompt_tokens_reused")
    )
    text = size(space) if isinstance(space, int) and space else "-"
    if isinstance(computed, int) and isinstance(reused, int) and computed + reused:
        text += f", {100 * reused // (computed + reused)} % reused"
    return text


def _until(runner: JsonObject) -> str:
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
