"""Keeping the store in order: what is damaged, what nothing refers to, what takes how much of the disk."""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from dmrc.artifact import Descriptor
from dmrc.reference import Reference
from dmrc.store.files import storage_errors
from dmrc.store.layout import Layout
from dmrc.store.model import StoredModel

_READ_BYTES = 4 << 20
_GRACE_SECONDS = 600.0
"""A blob this young may belong to a model that another process is about to add."""

HashProgress = Callable[[str, int, int], None]
"""Hears the digest of a blob, the bytes that were hashed, and its size."""


@dataclass(frozen=True, slots=True)
class Damage:
    """A file that is not what its name says."""

    digest: str
    """Digest that it should have."""
    reason: str
    """`is missing`, `is damaged`."""
    models: tuple[str, ...]
    """Models that have it, as people call them."""


@dataclass(frozen=True, slots=True)
class Verified:
    """What a verification found."""

    count: int
    """Files that were hashed."""
    size_bytes: int
    """Bytes of them."""
    damaged: tuple[Damage, ...]
    """Those that are not whole; they are out of the store now."""


@dataclass(frozen=True, slots=True)
class Garbage:
    """A file or directory that nothing refers to."""

    path: Path
    """Where it is, or was."""
    size_bytes: int
    """What it takes of the disk for itself."""


@dataclass(frozen=True, slots=True)
class Usage:
    """What the store takes of the disk; a file with several names counts once."""

    models_bytes: int
    """What models refer to."""
    unused_bytes: int
    """What nothing refers to."""


def verify(layout: Layout, models: Iterable[StoredModel], progress: HashProgress) -> Verified:
    """Hash every blob of the models, each once; take damaged ones out of the store."""
    blobs: dict[str, Descriptor] = {}
    names: dict[str, list[str]] = {}
    for model in models:
        name = Reference.parse(model.tags[0]).display() if model.tags else model.digest
        for blob in model.manifest.blobs:
            blobs[blob.digest] = blob
            names.setdefault(blob.digest, []).append(name)
    damaged = []
    for blob in blobs.values():
        reason = _examine(layout.blob(blob.digest), blob, progress)
        if reason is not None:
            damaged.append(Damage(blob.digest, reason, tuple(dict.fromkeys(names[blob.digest]))))
    return Verified(len(blobs), sum(blob.size_bytes for blob in blobs.values()), tuple(damaged))


def prune(layout: Layout, *, dry_run: bool) -> list[Garbage]:
    """Remove what nothing refers to, and return it."""
    with layout.lock() as entries:
        found = [Garbage(path, _own_bytes(path)) for path in _garbage(layout, layout.referred(entries))]
        if not dry_run:
            with storage_errors(layout.root):
                for each in found:
                    _remove(each.path)
    return found


def usage(layout: Layout) -> Usage:
    """Count the bytes on disk."""
    used = {layout.blob(digest) for digest in layout.referred(layout.entries())}
    models = unused = 0
    seen: set[int] = set()
    # Blobs come first, so that the hard links of a split model find their files counted already.
    for path in sorted(layout.root.rglob("*"), key=lambda path: path.parent != layout.blobs):
        try:
            status = path.lstat()
        except OSError:
            continue  # it went while we counted
        if not path.is_file() or status.st_ino in seen:
            continue
        seen.add(status.st_ino)
        if path in used or path.parent == layout.root:
            models += status.st_blocks * 512
        else:
            unused += status.st_blocks * 512
    return Usage(models, unused)


def _examine(path: Path, blob: Descriptor, progress: HashProgress) -> str | None:
    """Return what is wrong with a blob, which is removed then; None when it is whole."""
    hashed, done = hashlib.sha256(), 0
    try:
        with path.open("rb", buffering=0) as stream:
            while data := stream.read(_READ_BYTES):
                hashed.update(data)
                done += len(data)
                progress(blob.digest, done, blob.size_bytes)
    except FileNotFoundError:
        return "is missing"
    except OSError as error:
        return f"cannot be read ({error.strerror})"
    if f"sha256:{hashed.hexdigest()}" == blob.digest:
        return None
    with storage_errors(path):
        path.unlink(missing_ok=True)
    return "was damaged"


def _garbage(layout: Layout, referred: set[str]) -> Iterator[Path]:
    """Yield blobs, bundles and temporary files that nobody needs; the index must be locked."""
    now = time.time()
    # A pull may take hours from its first blob to the model that has it; it holds a lock for as long.
    is_pulling = any(_is_held(lock) for lock in (layout.root / "locks").glob("*.lock"))
    for path in layout.blobs.glob("*"):
        if path.name.startswith("."):
            if not _is_held(path):
                yield path
        elif f"sha256:{path.name}" not in referred and now - path.stat().st_mtime > _GRACE_SECONDS and not is_pulling:
            yield path
    for path in layout.bundles.glob("*"):
        if f"sha256:{path.name}" not in referred and now - path.stat().st_mtime > _GRACE_SECONDS:
            yield path


def _is_held(path: Path) -> bool:
    """Return whether a process has this file locked, as the writer of a temporary one and who pulls have."""
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
    if not path.is_dir():
        return path.lstat().st_blocks * 512
    return sum(each.lstat().st_blocks * 512 for each in path.rglob("*") if each.lstat().st_nlink == 1)


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
