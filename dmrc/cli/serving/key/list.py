"""`dmrc key list`: the keys that are valid."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from dmrc.cli.app import App, pass_app
from dmrc.cli.options import json_option

if TYPE_CHECKING:
    from dmrc.fields import JsonObject


@click.command("list", epilog="Example: dmrc key list --json | jq -r '.[].name'")
@json_option
@pass_app
def list_(app: App, as_json: bool) -> None:
    """List the keys that were created. Each is shown with what it opens, and when it asked last, as far as recorded."""
    import json

    from dmrc.cli.tables import ago, print_table

    app.daemon.ensure()
    keys = [{**key, "last_request_at": _last_request(app, key)} for key in known_keys(app)]
    if as_json:
        click.echo(
            json.dumps([{name: fact for name, fact in key.items() if name != "scope"} for key in keys], indent=2)
        )
        return
    rows = [
        [str(key["name"]), _models(key), *(ago(_seconds(key[name])) for name in ("created_at", "last_request_at"))]
        for key in keys
    ]
    print_table(("NAME", "MODELS", "CREATED", "LAST REQUEST"), rows)


def known_keys(app: App) -> list[JsonObject]:
    """Return what the daemon knows of each key, the oldest first; see `KeyRoutes`."""
    from dmrc.json_values import items_of

    return items_of(app.daemon.request("GET", "/keys"))


def _last_request(app: App, key: JsonObject) -> float | None:
    """Return when the newest request of a key on record came in; a former key of this name does not count."""
    from dmrc.capture.queries import ExchangeFilter

    page = app.record.page(ExchangeFilter(project=str(key["scope"]), since=_seconds(key["created_at"])), 1)
    return page[0].received_at if page else None


def _models(key: JsonObject) -> str:
    models = key["models"]
    return ", ".join(map(str, models)) if isinstance(models, list) and models else "all"


def _seconds(value: object) -> float | None:
    return float(value) if isinstance(value, int | float) else None
