"""`dmrc doctor`: what may keep dmrc from working, and what to do."""

from __future__ import annotations

import click

from dmrc.cli.app import App, pass_app
from dmrc.cli.options import json_option

_SIGNS = {"ok": ("✓", "green"), "warning": ("!", "yellow"), "problem": ("✗", "red")}


@click.command(epilog="Example: dmrc doctor --json | jq '.[] | select(.state != \"ok\")'")
@json_option
@pass_app
def doctor(app: App, as_json: bool) -> int:
    """Look at Docker, Compose, the engine, the network, memory and disk; nothing is changed.

    Exits with 1 when there is a problem. A warning keeps only a part of dmrc from working.
    """
    import json

    from dmrc.cli.record.checks import check_all

    checks = []
    for check in check_all(app):
        checks.append(check)
        if as_json:
            continue
        sign, colour = _SIGNS[check.state]
        click.echo(f"{click.style(sign, colour)} {check.name:<9} {check.message}")
        if check.remedy is not None:
            click.echo(f"  {'':<9} {check.remedy}")
    if as_json:
        rows = [
            {"name": check.name, "state": check.state, "message": check.message, "remedy": check.remedy}
            for check in checks
        ]
        click.echo(json.dumps(rows, indent=2, ensure_ascii=False))
    return 1 if any(check.state == "problem" for check in checks) else 0
