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

    A damaged file is taken out of the store, so that the next pull brings it anew.
    """
    import json

    from dmrc.cli.progress import PullProgress
    from dmrc.cli.tables import size
    from dmrc.sources import ProgressEvent

    known = app.settings.default_registry
    models = [app.store.resolve(name, known) for name in references] or app.store.models()
    with PullProgress() as progress:
        show = progress.of("verify")
        verified = app.store.verify(models, lambda *hashed: show(ProgressEvent("Hashing", *hashed)))
    if as_json:
        rows = [{"digest": d.digest, "reason": d.reason, "models": list(d.models)} for d in verified.damaged]
        document = {"files": verified.count, "size_bytes": verified.size_bytes, "damaged": rows}
        click.echo(json.dumps(document, indent=2))
    else:
        for damage in verified.damaged:
            names = " and ".join(damage.models)
            click.echo(f"{damage.digest} {damage.reason}, of {names}. Run: dmrc pull {damage.models[0]}")
        if not verified.damaged:
            click.echo(f"{verified.count} files are whole ({size(verified.size_bytes)})")
    return 1 if verified.damaged else 0
