"""The options of `dmrc export kubernetes` that say how: images, weights, sizes."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

import click

from dmrc.cli.options import remote_option
from dmrc.errors import InputError
from dmrc.kubernetes.choices import IMAGES, OVERLAYS, WEIGHTS, Choices, ImageKind
from dmrc.project import ReplicaRange
from dmrc.suggestions import did_you_mean

R = TypeVar("R")


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


_OPTIONS = (
    click.option(
        "--weights",
        type=click.Choice(WEIGHTS),
        default="pull",
        show_default=True,
        help="How models reach their engines: pulled when a Pod starts, pulled into a volume that stays, or an image.",
    ),
    click.option("--models-in", metavar="REGISTRY/PATH", help="Where the images of models are, for --weights image."),
    click.option(
        "--image",
        "images",
        type=_PAIR,
        multiple=True,
        metavar="KIND=IMAGE",
        help=f"Image of {', '.join(IMAGES)}; may be repeated.",
    ),
    click.option("--cpus", type=click.IntRange(min=1), default=2, show_default=True, help="Processors of an engine."),
    click.option(
        "--replicas",
        "ranges",
        type=_PAIR,
        multiple=True,
        metavar="MODEL=MIN[-MAX]",
        help="Pods of a model, by its key in the compose file; may be repeated.",
    ),
    click.option("--autoscale", is_flag=True, help="Let a HorizontalPodAutoscaler choose between MIN and MAX."),
    click.option(
        "--overlay",
        "overlays",
        type=click.Choice(OVERLAYS),
        multiple=True,
        help="Write an overlay for another operator, too; may be repeated.",
    ),
    remote_option,
)


def choice_options(command: Callable[..., R]) -> Callable[..., R]:
    """Add these options; the command gets them as `choices`."""

    @functools.wraps(command)
    def with_choices(
        *args: object,
        images: tuple[tuple[str, str], ...],
        ranges: tuple[tuple[str, str], ...],
        remote: bool,
        **given: Any,
    ) -> R:
        own = {name: given.pop(name) for name in ("weights", "models_in", "cpus", "autoscale", "overlays")}
        choices = Choices(images=_images(images), replicas=_ranges(ranges), is_remote=remote, **own)
        _check(choices)
        return command(*args, choices=choices, **given)

    wrapped: Callable[..., R] = with_choices
    for option in reversed(_OPTIONS):
        wrapped = option(wrapped)
    return wrapped


def _check(choices: Choices) -> None:
    """Refuse choices that contradict each other.

    Raises:
        InputError: They do.
    """
    if choices.weights != "image":
        return
    if choices.is_remote:
        raise InputError("--weights image needs the models here, for the digests of their images", remedy="Pull them")
    if choices.models_in is None:
        raise InputError("--weights image needs --models-in", remedy="Write --models-in registry.example/models")


def _images(pairs: tuple[tuple[str, str], ...]) -> Mapping[ImageKind, str]:
    kinds: dict[str, ImageKind] = {kind: kind for kind in IMAGES}
    for kind, _ in pairs:
        if kind not in kinds:
            raise InputError(
                f"--image: there is no image '{kind}'{did_you_mean(kind, kinds)}", remedy=f"Known: {', '.join(kinds)}"
            )
    return {kinds[kind]: image for kind, image in pairs}


def _ranges(pairs: tuple[tuple[str, str], ...]) -> Mapping[str, ReplicaRange]:
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
