"""`dmrc verify`: whether the bytes in the store are still those of their digests."""

from __future__ import annotations

import click

from dmrc.cli.app import App, pass_app
from dmrc.cli.options import json_option, model_name


@click.command(epilog="Example: dmrc verify ai/smollm2 || dmrc pull ai/smollm2")
@json_option
@click.argument("references", nargs=-1, type=model_name, metavar="[MODEL...]")
@pass_app
def verify(app: App, references: tuple[str, ...], as_json: bool) -> int:
    """Hash every file of the models named, or of all, again. Exits with 1 when one is damaged or missing.

    A damaged file is set aside: nothing uses it any more, the next pull brings it anew, and dmrc prune deletes it.
    """
    import json

    from dmrc.cli.progress import PullProgress
    from dmrc.cli.tables import size
    from dmrc.sources import ProgressEvent

    with PullProgress() as progress:
        show = progress.of("verify")
        verified = app.store.verify(
            references, lambda *hashed: show(ProgressEvent("Hashing", *hashed)), app.settings.default_registry
        )
    if as_json:
        rows = [{"digest": d.digest, "reason": d.reason, "models": list(d.models)} for d in verified.damaged]
        document = {"files": verified.count, "size_bytes": verified.size_bytes, "damaged": rows}
        click.echo(json.dumps(document, indent=2))
    else:
        for damage in verified.damaged:
            click.echo(f"{damage.digest} {damage.reason}, of {' and '.join(damage.models)}. {_remedy(damage.models)}")
        if not verified.damaged:
            click.echo(f"{verified.count} files are whole ({size(verified.size_bytes)})")
    return 1 if verified.damaged else 0


def _remedy(models: tuple[str, ...]) -> str:
    """Return what to do; one pull brings the file for all models that share it."""
    named = next((name for name in models if not name.startswith("sha256:")), None)
    if named is None:
        return f"Nothing names it any more. Run: dmrc rm {models[0]}"
    return f"Run: dmrc pull {named}, or package it again"
