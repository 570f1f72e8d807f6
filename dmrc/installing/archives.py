"""Unpacks what a build comes in: a tar or a zip, which a wheel is. Nothing is written outside the directory."""

from __future__ import annotations

import gzip
import lzma
import os
import shutil
import stat
import tarfile
import zipfile
import zlib
from collections.abc import Iterable
from pathlib import Path, PurePosixPath

from dmrc.errors import InputError, StoreError
from dmrc.tar_entries import UNREADABLE, BoundedEntry

LARGEST_BYTES = 16 << 30
"""The most that a build may take: that of CUDA with its libraries takes 2 GiB."""

_LONGEST_LINK_BYTES = 4096  # Source: PATH_MAX of Linux; zipfile reads all of it into memory

_BROKEN = (
    *(*UNREADABLE, zipfile.BadZipFile, gzip.BadGzipFile, zlib.error, lzma.LZMAError),
    *(NotImplementedError, RuntimeError, KeyError),
)
"""What Python's own readers raise for an archive that is cut off, damaged, or of a kind that they do not know."""


def is_archive(path: Path) -> bool:
    """Return whether a file is one that `unpack` takes."""
    if zipfile.is_zipfile(path):
        return True
    try:
        with tarfile.open(path, tarinfo=BoundedEntry):
            return True
    except UNREADABLE:
        return False


def unpack(archive: Path, directory: Path) -> None:
    """Unpack an archive into an empty directory.

    Raises:
        InputError: It is damaged, too large, or holds what would be written elsewhere.
        StoreError: The disk has no room.
        OSError: It cannot be read, or the directory cannot be written.
    """
    try:
        if zipfile.is_zipfile(archive):
            _unzip(archive, directory)
        else:
            _untar(archive, directory)
    except _BROKEN as error:
        raise InputError(
            f"'{archive}' cannot be unpacked: {error or type(error).__name__}",
            remedy="Get it again, and compare its SHA-256",
        ) from error


def check_room(directory: Path, sizes: Iterable[int], name: str) -> None:
    """Look whether so many bytes may be written.

    Raises:
        InputError: They are too many for a build.
        StoreError: The disk has not so many.
    """
    needed, free = sum(sizes), shutil.disk_usage(directory).free
    if needed > LARGEST_BYTES:
        raise InputError(f"'{name}' has {needed} bytes, which is no build of an engine", remedy="Name the build alone")
    if needed > free:
        raise StoreError(
            f"the disk of '{directory}' is full: {needed} bytes are needed, {free} are free",
            remedy="Remove a model with dmrc rm, or a build with dmrc engine remove",
        )


def _untar(archive: Path, directory: Path) -> None:
    """Unpack by Python's own filter, which refuses absolute paths, `..`, devices, and links that lead out.

    Source: https://docs.python.org/3/library/tarfile.html#tarfile.data_filter
    """
    if not hasattr(tarfile, "data_filter"):
        raise InputError("this Python cannot unpack a tar safely: it is older than 3.11.4",
                         remedy="Unpack it yourself, and name the directory")  # fmt: skip
    with tarfile.open(archive, tarinfo=BoundedEntry) as tar:
        check_room(directory, (member.size for member in tar), archive.name)
        try:
            tar.extractall(directory, filter="data")
        except tarfile.FilterError as error:
            raise InputError(f"'{archive}' would write outside its directory: {error}") from error


def _unzip(archive: Path, directory: Path) -> None:
    with zipfile.ZipFile(archive) as source:
        members = source.infolist()
        check_room(directory, (member.file_size for member in members), archive.name)
        links = []
        for member in members:
            path = directory / _inside(archive, member.filename)
            mode = member.external_attr >> 16
            if stat.S_ISLNK(mode):
                if member.file_size > _LONGEST_LINK_BYTES:
                    raise zipfile.BadZipFile(f"a link of {member.file_size} bytes")
                links.append((path, source.read(member).decode(errors="surrogateescape")))
            elif member.is_dir():
                path.mkdir(parents=True, exist_ok=True)
            else:
                path.parent.mkdir(parents=True, exist_ok=True)
                with source.open(member) as packed, path.open("xb") as unpacked:
                    shutil.copyfileobj(packed, unpacked, 1 << 20)
                path.chmod(0o700 if mode & 0o111 else 0o600)
    for path, target in links:  # after the files, so that none is written through one
        _inside(archive, os.path.normpath(path.relative_to(directory).parent / target))
        path.parent.mkdir(parents=True, exist_ok=True)
        path.symlink_to(target)


def _inside(archive: Path, name: str) -> PurePosixPath:
    """Return a path within the archive.

    Raises:
        InputError: It leads out of it.
    """
    path = PurePosixPath(name)
    if path.is_absolute() or ".." in path.parts or "\\" in name:
        raise InputError(f"'{archive}' would write outside its directory: '{name}'")
    return path
