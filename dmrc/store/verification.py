"""Whether the bytes of blobs are still those of their digests."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from dmrc.store.files import storage_errors
from dmrc.store.layout import Layout, Named
from dmrc.store.lookup import name_of

_READ_BYTES = 4 << 20
DAMAGED_SUFFIX = ".damaged"
"""End of the name of a blob that was set aside: `<64 hex>.damaged`."""

HashProgress = Callable[[str, int, int], None]
"""Hears the digest of a blob, the bytes that were hashed, and its size."""


@dataclass(frozen=True, slots=True)
class Damage:
    """A blob that is not what its name says."""

    digest: str
    """Digest that it should have."""
    reason: str
    """`is damaged`, `is missing`, `cannot be read (Input/output error)`."""
    models: tuple[str, ...]
    """Models that need it, as people call them; an ID for one without a tag."""


@dataclass(frozen=True, slots=True)
class Verified:
    """What a verification found."""

    count: int
    """Blobs that were looked at, manifests and configs among them."""
    size_bytes: int
    """Bytes that were hashed."""
    damaged: tuple[Damage, ...]
    """Those that are not whole; they have lost their names, so that nothing uses them and a pull brings them anew."""


def verify(layout: Layout, models: Iterable[Named], progress: HashProgress) -> Verified:
    """Hash every blob of the models, each once, and set damaged ones aside.

    Raises:
        StoreError: A damaged blob cannot be set aside.
    """
    names: dict[str, list[str]] = {}
    for model in models:
        # Before a damaged manifest is set aside, or it would not tell its blobs.
        for digest in sorted(layout.blobs_of(model.digest)):
            names.setdefault(digest, []).append(name_of(model))
    size_bytes, damaged = 0, []
    for digest, users in names.items():
        hashed_bytes, reason = _examine(layout.blob(digest), digest, progress)
        size_bytes += hashed_bytes
        if reason is not None:
            damaged.append(Damage(digest, reason, tuple(users)))
    return Verified(len(names), size_bytes, tuple(damaged))


def _examine(path: Path, digest: str, progress: HashProgress) -> tuple[int, str | None]:
    """Return how many bytes were hashed, and what is wrong with a blob, if anything is."""
    hashed, count = hashlib.sha256(), 0
    try:
        with path.open("rb", buffering=0) as stream:
            size_bytes = path.stat().st_size
            while data := stream.read(_READ_BYTES):
                hashed.update(data)
                count += len(data)
                progress(digest, count, size_bytes)
    except FileNotFoundError:
        return count, "is missing"
    except OSError as error:
        reason = f"cannot be read ({error.strerror})"
    else:
        if f"sha256:{hashed.hexdigest()}" == digest:
            return count, None
        reason = "is damaged"
    with storage_errors(path):
        path.replace(path.with_name(path.name + DAMAGED_SUFFIX))
    return count, reason
