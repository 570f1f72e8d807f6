"""Where builds are put: made aside, given their name at once, chosen, removed. One command at a time does so."""

from __future__ import annotations

import contextlib
import errno
import json
import os
import shutil
import tempfile
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from dmrc.engines.builds.build import FACTS, Build
from dmrc.engines.builds.builds import CHOICE
from dmrc.errors import ConflictError, StoreError
from dmrc.files import replace_file, sync_directory

_ASIDE = ".aside-"
_LOCK = ".lock"


@contextlib.contextmanager
def changing(directory: Path) -> Iterator[None]:
    """Be the only command that changes the builds; what an earlier one left half done is removed first.

    Raises:
        ConflictError: Another command changes them.
        StoreError: The disk is full, or fails.
    """
    import filelock

    with _disk_errors(directory):
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        try:
            lock = filelock.FileLock(directory / _LOCK, timeout=0).acquire()
        except filelock.Timeout as error:
            raise ConflictError(
                f"another command changes the builds in '{directory}'", remedy="Wait until it has ended"
            ) from error
        with lock:
            for left in directory.glob(f"{_ASIDE}*"):
                shutil.rmtree(left, ignore_errors=True)
            yield


@contextlib.contextmanager
def aside(directory: Path) -> Iterator[Path]:
    """Make a directory to prepare a build in; what is still there at the end goes."""
    place = Path(tempfile.mkdtemp(prefix=_ASIDE, dir=directory))
    try:
        yield place
    finally:
        shutil.rmtree(place, ignore_errors=True)


def keep(build: Build, prepared: Path, directory: Path) -> Build:
    """Give a build that was `prepared` aside its name for good; one that had the name before is removed.

    Runners of the former one go on: they have its files open.
    """
    done = replace(build, directory=prepared, installed_at=round(time.time(), 3))
    replace_file(prepared / FACTS, json.dumps(done.to_json(), indent=2).encode())
    _sync(prepared)
    place = directory / build.name
    with aside(directory) as former:
        if place.exists():
            place.rename(former / "build")
        prepared.rename(place)
        sync_directory(directory)
    return Build.read(place)


def choose(name: str, directory: Path) -> None:
    """Have the next runners use a build."""
    replace_file(directory / CHOICE, json.dumps({"name": name}).encode())


def forget_choice(directory: Path) -> None:
    """Have the next runners use what is there anyway."""
    (directory / CHOICE).unlink(missing_ok=True)


def has(name: str, directory: Path) -> bool:
    """Return whether something was installed under a name."""
    return any(path.name == name for path in directory.glob("[!.]*/"))


def remove(name: str, directory: Path) -> None:
    """Remove what was installed under a name; the name goes first."""
    with aside(directory) as place:
        (directory / name).rename(place / "build")


def _sync(directory: Path) -> None:
    """Make what was unpacked last, before it gets its name."""
    for path in directory.rglob("*"):
        if path.is_file() and not path.is_symlink():
            with path.open("rb") as stream:
                os.fsync(stream.fileno())
        elif path.is_dir():
            sync_directory(path)


@contextlib.contextmanager
def _disk_errors(directory: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise StoreError(
                f"the disk of '{directory}' is full",
                remedy="Remove a model with dmrc rm, or a build with dmrc engine remove",
            ) from error
        raise StoreError(f"'{error.filename or directory}' cannot be used: {error.strerror or error}") from error
