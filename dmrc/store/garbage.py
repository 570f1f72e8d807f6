"""What nothing in the store refers to, and what all of it takes of the disk."""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from dmrc.store.files import storage_errors
from dmrc.store.layout import Layout
from dmrc.store.verification import DAMAGED_SUFFIX

# Other programs bring the blobs of a model first and its name last, without our locks.
_GRACE_SECONDS = 600.0
# Between the making of one of our temporary files and its lock there is a moment.
_MOMENT_SECONDS = 60.0
_BLOCK_BYTES = 512
# Source: PutBlob in https://github.com/containers/image/blob/main/oci/layout/oci_dest.go
_SKOPEOS_TEMPORARIES = "oci-put-blob*"


@dataclass(frozen=True, slots=True)
class Garbage:
    """A file or directory that nothing refers to."""

    path: Path
    """Where it is, or was."""
    size_bytes: int
    """What removing it gives back to the disk."""


@dataclass(frozen=True, slots=True)
class Pruned:
    """What a pruning removed, or would."""

    removed: tuple[Garbage, ...]
    """What was removed."""
    left_because: str | None
    """Why blobs without a name had to stay, whether there are some or not; None where none had to."""


@dataclass(frozen=True, slots=True)
class Usage:
    """What the store takes of the disk; a file with several names counts once."""

    models_bytes: int
    """What models refer to."""
    unused_bytes: int
    """What nothing refers to."""


def prune(layout: Layout, *, dry_run: bool) -> Pruned:
    """Remove what nothing refers to and nobody is writing."""
    with layout.lock() as entries, layout.nobody_writing() as is_quiet:
        unreadable = next((e.digest for e in entries if e.digest and layout.document(e.digest) is None), None)
        reason = None
        if not is_quiet or any(_age(path) < _GRACE_SECONDS for path in layout.root.glob(_SKOPEOS_TEMPORARIES)):
            reason = "another process is bringing a model"
        elif unreadable is not None:
            reason = f"the manifest of {unreadable} is damaged, and does not tell which are its own; see dmrc verify"
        paths = [*_temporaries(layout), *_bundles(layout, {entry.digest for entry in entries})]
        if reason is None:
            paths += _blobs(layout, layout.referred(entries))
        found = [Garbage(path, _own_bytes(path)) for path in paths]
        if not dry_run:
            with storage_errors(layout.root):
                for each in found:
                    _remove(each.path)
    return Pruned(tuple(found), reason)


def usage(layout: Layout) -> Usage:
    """Count the bytes on disk."""
    entries = layout.entries()
    used = {layout.blob(digest) for digest in layout.referred(entries)}
    bundles = {layout.bundles / entry.digest.removeprefix("sha256:") for entry in entries if entry.digest}
    models = unused = 0
    seen: set[int] = set()
    # Blobs come first, so that the hard links of a model's files find these counted already.
    for path in sorted(layout.root.rglob("*"), key=lambda path: path.parent != layout.blobs):
        with contextlib.suppress(FileNotFoundError):  # it went while we counted
            status = path.lstat()
            if not path.is_file() or status.st_ino in seen:
                continue
            seen.add(status.st_ino)
            if path in used or path.parent == layout.root or not bundles.isdisjoint(path.parents):
                models += status.st_blocks * _BLOCK_BYTES
            else:
                unused += status.st_blocks * _BLOCK_BYTES
    return Usage(models, unused)


def _temporaries(layout: Layout) -> Iterator[Path]:
    """Yield what was being written when its process ended, and blobs that were found damaged."""
    for directory in (layout.blobs, layout.root):
        for path in directory.glob(".*.part"):
            if _age(path) > _MOMENT_SECONDS and not _is_held(path):
                yield path
    yield from layout.blobs.glob(f"*{DAMAGED_SUFFIX}")
    yield from (path for path in layout.root.glob(_SKOPEOS_TEMPORARIES) if _age(path) > _GRACE_SECONDS)


def _bundles(layout: Layout, digests: set[str | None]) -> Iterator[Path]:
    """Yield the hard links of models that are gone."""
    for path in layout.bundles.glob("*"):
        if f"sha256:{path.name}" not in digests and _age(path) > _MOMENT_SECONDS:
            yield path


def _blobs(layout: Layout, referred: set[str]) -> Iterator[Path]:
    for path in layout.blobs.glob("*"):
        is_blob = "." not in path.name
        if is_blob and f"sha256:{path.name}" not in referred and _age(path) > _GRACE_SECONDS:
            yield path


def _age(path: Path) -> float:
    """Return the seconds since the last change; 0 for a file that is gone."""
    try:
        return time.time() - path.stat().st_mtime
    except FileNotFoundError:
        return 0.0


def _is_held(path: Path) -> bool:
    """Return whether a process is writing this temporary file: its writer keeps it locked."""
    try:
        descriptor = os.open(path, os.O_RDONLY)
    except OSError:
        return True  # it got its name, or went, meanwhile
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(descriptor)
    return False


def _own_bytes(path: Path) -> int:
    """Return what removing a file or directory frees: hard links to blobs free nothing."""
    files = path.rglob("*") if path.is_dir() else [path]
    return sum(_disk_bytes(each) for each in files)


def _disk_bytes(path: Path) -> int:
    try:
        status = path.lstat()
    except FileNotFoundError:
        return 0
    return status.st_blocks * _BLOCK_BYTES if status.st_nlink == 1 else 0


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
