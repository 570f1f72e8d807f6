"""`dmrc engine install`: one more build, proved and used."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, cast

import click

from dmrc.cli.app import App, pass_app
from dmrc.cli.serving.engine.chosen import builds_of, installer_of, tell_in_use, timeout_option
from dmrc.errors import InputError
from dmrc.installing.variants import KINDS, Kind, rocm_version, variants

if TYPE_CHECKING:
    from dmrc.engines.builds.builds import Builds
    from dmrc.installing.install import Brought, Installer


@dataclass(frozen=True, slots=True)
class _Wish:
    """What was asked for."""

    name: str | None
    """What to call the build."""
    sha256: str | None
    """What its file must have."""
    index_url: str | None
    """The index to ask, in place of the one for its kind."""


@click.command(epilog="Example: dmrc engine install --from llama-b9000-bin-ubuntu-vulkan-x64.tar.gz")
@click.argument("kind", type=click.Choice(KINDS), required=False)
@click.option(
    "--from",
    "path",
    type=click.Path(path_type=Path, exists=True),
    metavar="PATH",
    help="A directory, an archive (.tar.gz, .zip), a wheel or a program, with llama-server or xllamacpp.",
)
@click.option("--index-url", metavar="URL", help="The index that has it, as pip knows it. [that of the kind]")
@click.option("--name", metavar="NAME", help="What to call it. [by its kind, or by where it comes from]")
@click.option("--sha256", metavar="HEX", help="What the file must have. [as the index says]")
@timeout_option
@pass_app
def install(
    app: App,
    kind: str | None,
    path: Path | None,
    index_url: str | None,
    name: str | None,
    sha256: str | None,
    seconds: float,
) -> None:
    """Install a build, and use it for the next models.

    `auto` is the best one for the cards of this machine: CUDA, ROCm or Vulkan. It comes from the index of xllamacpp,
    in the version of the one that came with dmrc, or from --from; into the state directory, and nowhere else.

    It must list its devices, load a tiny model and answer first; else nothing of it stays, and the former one is used.
    """
    if path is not None and (kind or index_url):
        raise click.UsageError("--from is where it comes from: leave out the kind and --index-url")
    wish, builds = _Wish(name, checked_sha256(sha256), index_url), builds_of(app)
    installer = installer_of(app, builds, seconds)
    if path is not None:
        _from_path(app, builds, installer, path, wish)
    else:
        _from_index(app, builds, installer, cast(Kind, kind or "auto"), wish)


def checked_sha256(text: str | None) -> str | None:
    """Return the digits of a SHA-256, in small letters.

    Raises:
        InputError: It is none.
    """
    if text is None:
        return None
    digits = text.lower().removeprefix("sha256:")
    if re.fullmatch(r"[0-9a-f]{64}", digits) is None:
        raise InputError(f"--sha256 must be 64 hexadecimal digits, not '{text}'")
    return digits


def _from_path(app: App, builds: Builds, installer: Installer, path: Path, wish: _Wish) -> None:
    from dmrc.installing.contents import bring, name_of
    from dmrc.installing.install import Brought

    source = path.absolute()
    build, proof = installer.install(
        wish.name or name_of(path), lambda place: Brought(str(source), bring(source, place, wish.sha256))
    )
    tell_in_use(app, builds, build, proof)


def _from_index(app: App, builds: Builds, installer: Installer, kind: Kind, wish: _Wish) -> None:
    """Try what is for this machine, the best one first; one that does not work costs a line, and the next is tried.

    Raises:
        BuildError: None works.
        RegistryError: The index cannot be asked, or does not say which SHA-256 the file has.
    """
    from dmrc.cli.progress import note
    from dmrc.engines.cards import cards

    if kind == "cpu" and wish.index_url is None:
        build, proof = installer.use("xllamacpp")
        return tell_in_use(app, builds, build, proof)
    found = variants(kind, cards(), rocm_version())
    if not found:
        return note(f"This machine shows no graphics card that is worth it. In use stays {builds.in_use().label}")
    # What is said of one file, or of one index, is of no other.
    tried = found[:1] if wish.index_url or wish.sha256 else found
    why = {variant.name: variant.why for variant in tried}
    build, proof = installer.install_first(list(why), lambda one: _bringer(app, one, why[one], wish), note, wish.name)
    return tell_in_use(app, builds, build, proof)


def _bringer(app: App, variant: str, why: str, wish: _Wish) -> Callable[[Path], Brought]:
    """Return what fetches a build of an index, with a bar."""
    from importlib import metadata

    from dmrc.cli.progress import PullProgress, note
    from dmrc.installing.index import PROJECT, Index
    from dmrc.sources import Transfer
    from dmrc.store import Store

    def bring(place: Path) -> Brought:
        fetched = app.settings.paths.engines / ".fetched"
        url = wish.index_url or f"{app.settings.engine_index}/{variant}"
        with PullProgress() as progress:
            transfer = Transfer(Store(fetched), progress.of(variant), progress.cancelled)
            index = Index(url, fetched, transfer, insecure=app.settings.insecure_registry)
            wheel = index.wheel(metadata.version(PROJECT))
            note(f"{why}. Fetching {wheel.file} from {index.url}")
            return index.bring(wheel, wish.sha256 or index.sha256_of(wheel), place)

    return bring
