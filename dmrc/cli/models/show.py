"""`dmrc show`: all facts of one model, for people."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from dmrc.cli.app import App, pass_app
from dmrc.cli.options import json_option, model_name, remote_option

if TYPE_CHECKING:
    from dmrc.artifact import Descriptor
    from dmrc.store import StoredModel

_LONGEST_VALUE = 80


@click.command(epilog="Example: dmrc show ai/smollm2")
@json_option
@remote_option
@click.argument("reference", type=model_name, metavar="MODEL")
@pass_app
def show(app: App, remote: bool, reference: str, as_json: bool) -> None:
    """Print what is known of a model: its facts, tags, files, and what the headers of its files say."""
    import json

    from dmrc.cli.tables import print_facts
    from dmrc.models import describe, stored_capabilities

    model = app.model(reference, remote=remote)
    can = stored_capabilities(app.store, model)
    if as_json:
        files = [{"role": each.role, "digest": each.digest, "size_bytes": each.size_bytes} for each in _layers(model)]
        more = {"capabilities": can, "pulled_at": model.pulled_at, "files": files}
        click.echo(json.dumps({**describe(model), **more}, indent=4))
        return
    print_facts([*_facts(model), ("Capabilities", ", ".join(can) or "-")])
    print_metadata(model)


def print_metadata(model: StoredModel) -> None:
    """Print what the headers of the model's files say."""
    config = model.config
    click.echo("\nSafetensors Metadata:" if config.safetensors else "\nGGUF Metadata:")
    for key, value in sorted((config.safetensors or config.gguf).items()):
        click.echo(f"  {key}: {_short(value)}")


def _facts(model: StoredModel) -> list[tuple[str, str]]:
    from datetime import UTC, datetime

    from dmrc.cli.tables import ago, size
    from dmrc.gguf import format_size
    from dmrc.models.description import trained_context
    from dmrc.reference import Reference

    config = model.config
    pulled = datetime.fromtimestamp(model.pulled_at, UTC).isoformat()
    sources = sorted({Reference.parse(tag).registry for tag in model.tags})
    in_directory = config.format != "gguf"  # of several files of one kind the names tell
    files = ", ".join(
        f"{_printable(layer.file_path if in_directory and layer.file_path else layer.role)} ({size(layer.size_bytes)})"
        for layer in _layers(model)
    )
    trained = trained_context(model)
    return [
        ("Model", model.digest),
        ("Tags", ", ".join(model.tags) or "<none>"),
        ("Source", ", ".join(sources) or "-"),
        ("Created", model.created.isoformat() if model.created else "-"),
        ("Pulled", f"{pulled} ({ago(model.pulled_at)})" if model.pulled_at else "-"),
        ("Format", config.format),
        ("Architecture", config.architecture or "-"),
        ("Parameters", config.parameters or "-"),
        ("Size", format_size(model.size_bytes)),
        ("Quantization", config.quantization or "-"),
        ("Context Size", f"{config.context_size or '-'}" + (f" (trained for {trained})" if trained else "")),
        ("Files", files),
    ]


def _layers(model: StoredModel) -> tuple[Descriptor, ...]:
    return model.manifest.layers


def _printable(text: str) -> str:
    return "".join(character if character.isprintable() else " " for character in text)


def _short(value: str) -> str:
    """Return one line; a chat template is long, and may say anything to a terminal."""
    line = _printable(value)
    return line if len(line) <= _LONGEST_VALUE else f"{line[:_LONGEST_VALUE]}… ({len(value)} characters)"
