"""Files of a model that lie in tar archives, as Docker Model Runner's older form has all but the weights.

Source: https://github.com/docker/model-runner/blob/main/pkg/distribution/internal/bundle/unpack.go
"""

from __future__ import annotations

import os
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from dmrc.artifact import conflict, is_plain_path
from dmrc.errors import ArtifactError

if TYPE_CHECKING:  # heavy, and few models have an archive
    import tarfile

_MOST_ENTRIES = 1000


@dataclass(frozen=True, slots=True)
class ArchivedFile:
    """A file in an archive that is not compressed: a piece of it."""

    archive: Path
    """Where the archive is."""
    path: str
    """Relative path of the file."""
    offset: int
    """Where its bytes begin in the archive."""
    size_bytes: int
    """How many it has."""

    def copy(self, target: Path) -> None:
        """Make `target`, which must not be there, a copy of it."""
        with self.archive.open("rb") as source, target.open("xb") as destination:
            source.seek(self.offset)
            left = self.size_bytes
            while data := source.read(min(left, 1 << 20)):
                destination.write(data)
                left -= len(data)
            destination.flush()
            os.fsync(destination.fileno())


def unpacked(archives: Iterable[Path], beside: Collection[str], name: str) -> list[ArchivedFile]:
    """Return the files in the archives of model `name`, which lie in one directory with those `beside`.

    Raises:
        ArtifactError: An archive cannot be read, or holds what is not to be trusted: a link, a path that leads
            elsewhere, two files for one place, too many files.
    """
    import tarfile

    from dmrc.tar_entries import UNREADABLE, BoundedEntry

    found: list[ArchivedFile] = []
    for archive in archives:
        try:
            with tarfile.open(archive, "r:", tarinfo=BoundedEntry) as entries:
                for number, entry in enumerate(entries):
                    if number >= _MOST_ENTRIES:
                        raise ArtifactError(f"model '{name}' has an archive with more than {_MOST_ENTRIES} entries")
                    if not entry.isdir():
                        found.append(_file(archive, entry, name))
        except UNREADABLE as error:
            raise ArtifactError(f"model '{name}' has an archive that cannot be read: {error}") from error
    if doubtful := conflict([*beside, *(each.path for each in found)]):
        raise ArtifactError(f"model '{name}' is not to be trusted: it has two files for the place of '{doubtful}'")
    return found


def _file(archive: Path, entry: tarfile.TarInfo, name: str) -> ArchivedFile:
    path = entry.name.removeprefix("./")
    if not entry.isfile() or entry.issparse() or not is_plain_path(path):
        raise ArtifactError(
            f"model '{name}' is not to be trusted: in its archive {entry.name[:100]!r} is no plain file"
        )
    if entry.offset_data + entry.size > archive.stat().st_size:
        raise ArtifactError(f"model '{name}' has an archive that is not whole")
    return ArchivedFile(archive, path, entry.offset_data, entry.size)
