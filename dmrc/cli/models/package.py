"""`dmrc package`: a model of a GGUF file, or of another model."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import click

from dmrc.cli.app import App, pass_app
from dmrc.cli.options import json_option, model_name

_FILE = click.Path(path_type=Path)


@click.command(epilog="Example: dmrc package --gguf smollm2.gguf --license LICENSE me/smollm2:Q4_1")
@click.option("--gguf", type=_FILE, help="The GGUF file; the first one of a split model is enough.")
@click.option("--safetensors-dir", "directory", type=_FILE, help="A directory of safetensors files, with all others.")
@click.option("--from", "base", type=model_name, help="A model to start from; only what is given changes.")
@click.option("--mmproj", type=_FILE, help="Multimodal projector.")
@click.option("--chat-template", type=_FILE, help="Chat template (Jinja) that replaces the one in the GGUF.")
@click.option("-l", "--license", "licenses", multiple=True, type=_FILE, help="A licence; may be repeated.")
@click.option("--context-size", type=click.IntRange(min=1), help="Tokens per request, where a project says nothing.")
@click.option(
    "--format", "form", type=click.Choice(["docker", "cncf"]), default="docker", help="Docker's, or CNCF ModelPack's."
)
@click.option("--push", "is_pushed", is_flag=True, help="Push it to its registry, too.")
@click.argument("reference")
@json_option
@pass_app
def package(
    app: App,
    /,
    reference: str,
    gguf: Path | None,
    directory: Path | None,
    base: str | None,
    licenses: tuple[Path, ...],
    form: Literal["docker", "cncf"],
    is_pushed: bool,
    as_json: bool,
    context_size: int | None,
    **files: Path | None,
) -> None:
    """Put a GGUF file, a directory, or a variant of another model, into the store as REFERENCE.

    The same input gives the same digest. The context size is recorded only when it is given.
    """
    import json

    from dmrc.cli.models.push import push_model
    from dmrc.cli.progress import PullProgress, note
    from dmrc.models import Parts
    from dmrc.reference import Reference

    before = None if base is None else app.store.resolve(base, app.settings.default_registry)
    parts = Parts(
        gguf=gguf,
        directory=directory,
        base=before,
        licenses=licenses,
        form=form,
        context_size=context_size,
        **files,
    )
    with PullProgress() as progress:
        model = app.models.package(parts, reference, progress.of(reference))
    target = Reference.parse(reference, default_registry=app.settings.default_registry)
    made_of = gguf or directory
    note(f"packaged {made_of.name if made_of else base} as {target}")
    if is_pushed:
        push_model(app, reference)
    row = {"digest": model.digest, "tags": list(model.tags), "size_bytes": model.size_bytes}
    click.echo(json.dumps(row, indent=2) if as_json else model.digest)
