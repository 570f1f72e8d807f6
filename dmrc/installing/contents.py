"""What a user names as a build: a directory, an archive, a wheel or a single program; and what is in it."""

from __future__ import annotations

import errno
import hashlib
import os
import shutil
from pathlib import Path

from dmrc.engines.builds.build import LLAMA_SERVER, XLLAMACPP, Build
from dmrc.errors import DigestMismatchError, InputError
from dmrc.installing.archives import check_room, is_archive, unpack

_MAGIC = (b"\x7fELF", b"\xcf\xfa\xed\xfe", b"\xca\xfe\xba\xbe", b"#!")
"""First bytes of a program: Linux, macOS, macOS for two processors, a script."""

_SAYS_NOTHING = ("bin", "build", "dist", "release", "lib", LLAMA_SERVER, XLLAMACPP)
_SUFFIXES = (".gz", ".xz", ".bz2", ".zst", ".tgz", ".txz", ".tar", ".zip", ".whl")


def bring(path: Path, directory: Path, sha256: str | None = None) -> str | None:
    """Put what `path` is into an empty directory; return the SHA-256 of the file that it is, None for a directory.

    Raises:
        InputError: There is no build in it, by its form, or it cannot be read.
        DigestMismatchError: Its SHA-256 is another one.
        StoreError: The disk has no room.
        OSError: The disk fails.
    """
    try:
        is_directory = path.is_dir()
        found = None if is_directory else file_sha256(path)
    except OSError as error:
        raise InputError(f"'{path}' cannot be read: {error.strerror or error}") from error
    if sha256 is not None and found != sha256:
        what = "is a directory, which has no SHA-256" if found is None else f"has the SHA-256 {found}"
        raise DigestMismatchError(f"'{path}' {what}, and {sha256} was asked for", remedy="Look where it came from")
    if is_directory:
        _copy_directory(path, directory)
    elif is_archive(path):
        unpack(path, directory)
    else:
        _copy_program(path, directory)
    return found


def build_in(directory: Path, name: str, source: str, sha256: str | None) -> Build:
    """Return the build that lies in a directory.

    Raises:
        InputError: There is none.
    """
    libraries = sorted({path.parent for path in directory.rglob("*.so*") if path.is_file()})
    if (server := _shallowest(directory, LLAMA_SERVER)) is not None:
        if not server.is_symlink():
            server.chmod(server.stat().st_mode | 0o700)  # a zip need not say that it is a program
        return Build(
            name=name, program=server, directory=directory, libraries=tuple(libraries), source=source, sha256=sha256
        )
    if (package := _shallowest(directory, f"{XLLAMACPP}/__init__.py")) is not None:
        site = package.parent.parent
        return Build(name=name, site=site, directory=directory, source=source, sha256=sha256)
    raise InputError(
        f"'{source}' has neither a program {LLAMA_SERVER} nor a package {XLLAMACPP}",
        remedy="Name a directory, an archive or a wheel that has one of them",
    )


def name_of(path: Path) -> str:
    """Return how to call a build by where it came from: `llama-b9000-bin-ubuntu-vulkan-x64`, `xllamacpp-2026.10.1`."""
    stem = path.absolute().name
    if stem.endswith(".whl"):
        stem = "-".join(stem.split("-")[:2])  # name and version; the rest says for which machines it is
    while stem.endswith(_SUFFIXES):
        stem = stem.rpartition(".")[0]
    for name in (stem, *(parent.name for parent in path.absolute().parents)):
        kept = "".join(letter if letter.isascii() and (letter.isalnum() or letter in "._-") else "-" for letter in name)
        if (kept := kept.strip("._-")[:64]) and kept.lower() not in _SAYS_NOTHING:
            return kept
    return "mine"


def file_sha256(path: Path) -> str:
    """Return the SHA-256 of a file, in hexadecimal digits."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _shallowest(directory: Path, wanted: str) -> Path | None:
    """Return the file of this name that lies least deep."""
    found = [path for path in directory.rglob(wanted) if path.is_file()]
    return min(found, key=lambda path: (len(path.parts), path), default=None)


def _copy_directory(path: Path, directory: Path) -> None:
    if directory.resolve().is_relative_to(path.resolve()):
        raise InputError(f"'{path}' holds the state directory of dmrc", remedy="Name the directory of the build alone")
    check_room(directory, (each.lstat().st_size for each in path.rglob("*")), str(path))
    try:
        shutil.copytree(path, directory, symlinks=True, dirs_exist_ok=True)
    except shutil.Error as error:  # of several files: each with its reason
        source, _, why = error.args[0][0]
        if os.strerror(errno.ENOSPC) in why:
            raise OSError(errno.ENOSPC, why) from error
        raise InputError(f"'{source}' cannot be copied: {why}") from error
    for each in (directory, *directory.rglob("*/")):
        if not each.is_symlink():  # it may lead to what is not ours
            each.chmod(0o700)  # a directory that nobody may write could not be removed


def _copy_program(path: Path, directory: Path) -> None:
    """Copy a program, and the shared libraries beside it."""
    with path.open("rb") as stream:
        is_program = stream.read(4).startswith(_MAGIC)
    if not is_program:
        raise InputError(
            f"'{path}' is no directory, archive, wheel or program",
            remedy="Name a directory, a .tar.gz, .zip or .whl, or a llama-server",
        )
    beside = [each for each in path.parent.glob("*.so*") if each.is_file()]
    check_room(directory, (each.stat().st_size for each in (path, *beside)), str(path))
    shutil.copy(path, directory / LLAMA_SERVER)
    for each in beside:
        if each.is_symlink() and not os.path.isabs(link := os.readlink(each)) and "/" not in link:  # noqa: PTH115, PTH117
            (directory / each.name).symlink_to(link)
        else:
            shutil.copy(each, directory / each.name)
