"""`dmrc export kubernetes`: manifests of a compose project."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import click

from dmrc.cli.app import App, pass_app
from dmrc.cli.options import json_option, project_options, remote_option
from dmrc.cli.projects.setup.selection import Selection
from dmrc.kubernetes.choices import IMAGES, WEIGHTS, Choices, ImageKind, Weights

if TYPE_CHECKING:
    from dmrc.project import ReplicaRange


class _Pair(click.ParamType[tuple[str, str]]):
    """`NAME=VALUE`."""

    name = "pair"

    def convert(
        self, value: str | tuple[str, str], param: click.Parameter | None, context: click.Context | None
    ) -> tuple[str, str]:
        if isinstance(value, tuple):
            return value
        name, equals, rest = value.partition("=")
        if not (name and equals and rest):
            self.fail(f"'{value}' must be NAME=VALUE", param, context)
        return name, rest


_PAIR = _Pair()


@click.command(epilog="Example: dmrc export kubernetes -o kubernetes && kubectl apply -k kubernetes/base")
@project_options
@click.option(
    "-o",
    "--output",
    "directory",
    type=click.Path(path_type=Path, file_okay=False),
    default=Path("kubernetes"),
    show_default=True,
    help="Directory of the manifests.",
)
@click.option(
    "--weights",
    type=click.Choice(WEIGHTS),
    default="pull",
    show_default=True,
    help="How models reach their engines: pulled when a Pod starts, pulled into a volume that stays, or an image.",
)
@click.option("--models-in", metavar="REGISTRY/PATH", help="Where the images of models are, for --weights image.")
@click.option(
    "--image",
    "images",
    type=_PAIR,
    multiple=True,
    metavar="KIND=IMAGE",
    help=f"Image of {', '.join(IMAGES)}; may be repeated.",
)
@click.option("--cpus", type=click.IntRange(min=1), default=2, show_default=True, help="Processors of an engine.")
@click.option(
    "--replicas",
    "ranges",
    type=_PAIR,
    multiple=True,
    metavar="MODEL=MIN[-MAX]",
    help="Pods of a model, by its key in the compose file; may be repeated.",
)
@click.option("--autoscale", is_flag=True, help="Let a HorizontalPodAutoscaler choose between MIN and MAX.")
@remote_option
@json_option
@pass_app
def kubernetes(
    app: App,
    selection: Selection,
    directory: Path,
    weights: Weights,
    models_in: str | None,
    images: tuple[tuple[str, str], ...],
    cpus: int,
    ranges: tuple[tuple[str, str], ...],
    autoscale: bool,
    remote: bool,
    as_json: bool,
) -> None:
    """Write a compose project as Kubernetes manifests, as a directory for kubectl apply -k.

    Models must be in the store, or in a registry with --remote: their digests, and what they take of memory, are in
    the manifests. Keys are made at the first export, and stay. The files with keys are for you alone, and .gitignore
    names them.
    """
    import json

    from dmrc.cli.progress import note
    from dmrc.cli.projects.export.project import export_project
    from dmrc.errors import InputError
    from dmrc.kubernetes.export import exported
    from dmrc.kubernetes.folder import write

    if remote and weights == "image":
        raise InputError("--weights image needs the models here, for the digests of their images", remedy="Pull them")
    if weights == "image" and models_in is None:
        raise InputError(
            "--weights image needs the place of the images", remedy="Write --models-in registry.example/models"
        )
    choices = Choices(
        weights=weights,
        models_in=models_in,
        images=_images(images),
        cpus=cpus,
        autoscale=autoscale,
        is_remote=remote,
        replicas=_ranges(ranges),
    )
    export = export_project(app, selection.options(), directory, choices)
    folder = exported(export)
    write(directory, folder.files)
    for line in (*folder.left_out, *folder.notes):
        note(line)
    if as_json:
        files = {each.name: {"secret": each.is_secret} for each in folder.files}
        told = {"directory": str(directory), "files": files, "not_converted": list(folder.left_out)}
        click.echo(json.dumps({**told, "notes": list(folder.notes)}, indent=2))
    else:
        click.echo(f"{directory}/base")


def _images(pairs: tuple[tuple[str, str], ...]) -> Mapping[ImageKind, str]:
    from dmrc.errors import InputError
    from dmrc.suggestions import did_you_mean

    kinds: dict[str, ImageKind] = {kind: kind for kind in IMAGES}
    for kind, _ in pairs:
        if kind not in kinds:
            raise InputError(
                f"--image: there is no image '{kind}'{did_you_mean(kind, kinds)}", remedy=f"Known: {', '.join(kinds)}"
            )
    return {kinds[kind]: image for kind, image in pairs}


def _ranges(pairs: tuple[tuple[str, str], ...]) -> Mapping[str, ReplicaRange]:
    from dmrc.errors import InputError
    from dmrc.project import ReplicaRange

    found = {}
    for model, text in pairs:
        least, dash, most = text.partition("-")
        numbers = [least, most] if dash else [least, least]
        if not all(number.isascii() and number.isdigit() for number in numbers) or int(most or least) < 1:
            raise InputError(f"--replicas {model} must be a number or MIN-MAX, not '{text}'", remedy="Write 1-3")
        if int(numbers[0]) > int(numbers[1]):
            raise InputError(f"--replicas {model} must have at most {numbers[1]} as MIN, not {least}")
        found[model] = ReplicaRange(min=int(numbers[0]), max=int(numbers[1]))
    return found
