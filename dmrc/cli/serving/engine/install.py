"""`dmrc engine install`: one more build, proved and used."""

from __future__ import annotations

import re
from pathlib import Path

import click

from dmrc.cli.app import App, pass_app
from dmrc.cli.serving.engine.chosen import builds_of, installer_of, tell_in_use, timeout_option


@click.command(epilog="Example: dmrc engine install --from llama-b9000-bin-ubuntu-vulkan-x64.tar.gz")
@click.option(
    "--from",
    "path",
    type=click.Path(path_type=Path, exists=True),
    metavar="PATH",
    required=True,
    help="A directory, an archive (.tar.gz, .zip), a wheel or a program, with llama-server or xllamacpp.",
)
@click.option("--name", metavar="NAME", help="What to call it. [by where it comes from]")
@click.option("--sha256", metavar="HEX", help="What the file must have.")
@timeout_option
@pass_app
def install(app: App, path: Path, name: str | None, sha256: str | None, seconds: float) -> None:
    """Install a build of llama.cpp into the state directory, and use it from the next model on that is loaded.

    It must list its devices, load a tiny model and answer first; else nothing of it stays, and the former one is used.
    """
    from dmrc.cli.progress import spinner
    from dmrc.installing.contents import bring, name_of
    from dmrc.installing.install import Brought

    wanted = checked_sha256(sha256)
    called, builds = name or name_of(path), builds_of(app)
    with spinner(f"Trying '{path}'"):
        build, proof = installer_of(app, builds, seconds).install(
            called, lambda place: Brought(str(path.absolute()), bring(path, place, wanted))
        )
    tell_in_use(app, builds, build, proof)


def checked_sha256(text: str | None) -> str | None:
    """Return the digits of a SHA-256, in small letters.

    Raises:
        InputError: It is none.
    """
    from dmrc.errors import InputError

    if text is None:
        return None
    digits = text.lower().removeprefix("sha256:")
    if re.fullmatch(r"[0-9a-f]{64}", digits) is None:
        raise InputError(f"--sha256 must be 64 hexadecimal digits, not '{text}'")
    return digits
