"""`dmrc package`: a model of a GGUF file."""

from __future__ import annotations

from pathlib import Path

import click

from dmrc.cli.app import App, pass_app
from dmrc.cli.options import json_option

_FILE = click.Path(path_type=Path)


@click.command(epilog="Example: dmrc package --gguf smollm2.gguf me/smollm2:Q4_1")
@click.option("--gguf", required=True, type=_FILE, help="The GGUF file; the first one of a split model is enough.")
@click.option("--mmproj", type=_FILE, help="Multimodal projector.")
@click.option("--chat-template", type=_FILE, help="Chat template (Jinja) that replaces the one in the GGUF.")
@click.option("-l", "--license", "licenses", multiple=True, type=_FILE, help="A licence; may be repeated.")
@click.option("--context-size", type=click.IntRange(min=1), help="Tokens per request, where a project says nothing.")
@click.argument("reference")
@json_option
@pass_app
def package(
    app: App,
    gguf: Path,
    mmproj: Path | None,
    chat_template: Path | None,
    licenses: tuple[Path, ...],
    context_size: int | None,
    reference: str,
    as_json: bool,
) -> None:
    """Put a GGUF file into the store as the model REFERENCE. The same input gives the same digest."""
    import json

    from dmrc.cli.progress import PullProgress, note

    with PullProgress() as progress:
        model = app.models.package(
            gguf,
            reference,
            licenses=licenses,
            mmproj=mmproj,
            chat_template=chat_template,
            context_size=context_size,
            progress=progress.of(reference),
        )
    note(f"packaged {gguf.name} as {model.tags[0]}")
    row = {"digest": model.digest, "tags": list(model.tags), "size_bytes": model.size_bytes}
    click.echo(json.dumps(row, indent=2) if as_json else model.digest)
