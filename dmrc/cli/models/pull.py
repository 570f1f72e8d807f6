"""`dmrc pull`: a model from a registry into the store."""

from __future__ import annotations

from pathlib import Path

import click

from dmrc.cli.app import App, pass_app
from dmrc.cli.options import json_option, model_name


@click.command(epilog="Example: dmrc pull ai/smollm2:135M-Q4_K_M")
@click.argument("references", nargs=-1, required=True, type=model_name, metavar="REFERENCE...")
@click.option(
    "--files",
    "directory",
    type=click.Path(path_type=Path, file_okay=False),
    help="Make a directory with links to its files, under plain names: model.gguf, mmproj.gguf.",
)
@click.option("--expect", metavar="DIGEST", help="Fail where the model has another digest than this.")
@json_option
@pass_app
def pull(app: App, references: tuple[str, ...], directory: Path | None, expect: str | None, as_json: bool) -> None:
    """Pull models. One that is present is compared with the registry, and pulled again if it changed there.

    Without a network it stays as it is.
    """
    import json

    from dmrc.cli.progress import PullProgress, note
    from dmrc.cli.tables import size
    from dmrc.errors import DigestMismatchError, InputError
    from dmrc.models.loose_files import link_files

    if len(references) > 1 and (directory or expect):
        raise InputError("--files and --expect are for one model", remedy="Pull them one after the other")
    rows = []
    for reference in references:
        with PullProgress() as progress:
            pulled = app.models.pull(reference, progress.of(reference), refresh=True, cancelled=progress.cancelled)
        if expect is not None and pulled.digest != expect:
            raise DigestMismatchError(f"model '{reference}' is {pulled.digest}, not {expect}")
        if directory is not None:
            link_files(app.store, app.store.resolve(pulled.digest), directory)
        amount = size(pulled.size_bytes)
        if pulled.not_compared is not None:
            note(f"Warning: {pulled.not_compared}")
        present = (
            "is up to date" if pulled.not_compared is None else "is present, and was not compared with its registry"
        )
        state = f"{present} ({amount})" if pulled.was_present else f"pulled, {amount} in {pulled.seconds:.1f} s"
        note(f"{pulled.reference} {state}")
        rows.append(
            {
                "reference": str(pulled.reference),
                "digest": pulled.digest,
                "size_bytes": pulled.size_bytes,
                "seconds": round(pulled.seconds, 3),
                "was_present": pulled.was_present,
            }
        )
        if not as_json:
            click.echo(pulled.digest)
    if as_json:
        click.echo(json.dumps(rows, indent=2))
