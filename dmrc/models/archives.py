"""A model as one tar archive: `blobs/sha256/<hex>` for each of its blobs, and last `manifest.json`.

Source: https://github.com/docker/model-runner/tree/main/pkg/distribution/tarball
"""

from __future__ import annotations

import io
import re
import tarfile
from collections.abc import Generator, Iterator
from typing import IO, BinaryIO, Protocol, cast

from dmrc.artifact import MAX_DOCUMENT_BYTES
from dmrc.errors import ArtifactError
from dmrc.sources import Progress, ProgressEvent
from dmrc.store import Store, StoredModel
from dmrc.tar_entries import UNREADABLE, BoundedEntry

_MANIFEST = "manifest.json"
_BLOB = re.compile(r"(?:\./)?blobs/sha256/([0-9a-f]{64})")
_CHUNK_BYTES = 1 << 20
# Of each caller that reads slowly, about three such pieces are in memory.
_EXPORTED_BYTES = 128 << 10
_BLOCK_BYTES = 512
_END = bytes(2 * _BLOCK_BYTES)


class ByteStream(Protocol):
    """Gives the bytes of an archive in order."""

    def read(self, size: int, /) -> bytes:
        """Return some of the next bytes, of about `size`; none at the end."""


class Archive:
    """The archive of a model; iterating gives its bytes, once.

    Each file is opened when its turn comes: a caller that reads slowly holds one open, and not all of them.
    """

    def __init__(self, store: Store, model: StoredModel) -> None:
        """See that all that goes into it is there.

        Raises:
            BlobMissingError: A file of the model is missing.
            ModelNotFoundError: It was removed meanwhile.
        """
        self._store = store
        self._manifest = store.document(model)
        self._blobs = {blob.digest: blob.size_bytes for blob in model.manifest.blobs}
        for digest, size in self._blobs.items():
            store.open_blob(digest, size).close()
        entries = [*(_blob_entry(*blob) for blob in self._blobs.items()), _entry(_MANIFEST, len(self._manifest))]
        self.size_bytes = len(_END) + sum(len(_header(entry)) + _padded(entry.size) for entry in entries)
        """Of the whole archive."""

    def __iter__(self) -> Generator[bytes]:
        """Yield the archive.

        Raises:
            BlobMissingError: The model was removed meanwhile; whoever reads it sees that its end is missing.
        """
        for digest, size in self._blobs.items():
            with self._store.open_blob(digest, size) as stream:
                yield from _member(_blob_entry(digest, size), stream)
        yield from _member(_entry(_MANIFEST, len(self._manifest)), io.BytesIO(self._manifest))
        yield _END


def _member(entry: tarfile.TarInfo, stream: BinaryIO) -> Iterator[bytes]:
    yield _header(entry)
    while data := stream.read(_EXPORTED_BYTES):
        yield data
    if padding := _padded(entry.size) - entry.size:
        yield bytes(padding)


def _blob_entry(digest: str, size_bytes: int) -> tarfile.TarInfo:
    return _entry(f"blobs/sha256/{digest.removeprefix('sha256:')}", size_bytes)


def load_archive(store: Store, stream: ByteStream, progress: Progress) -> StoredModel:
    """Put the model of an archive into the store, without a tag; the bytes of each blob are checked.

    Raises:
        ArtifactError: It is no archive of a model.
        BlobMissingError: A blob of the model is not in it.
        DigestMismatchError: A blob has other bytes than its name says.
    """
    manifest = None
    with store.writing():
        try:
            with tarfile.open(
                mode="r|", fileobj=cast(IO[bytes], stream), bufsize=_CHUNK_BYTES, tarinfo=BoundedEntry
            ) as archive:
                for entry in archive:
                    content = archive.extractfile(entry) if entry.isreg() else None
                    if content is None:
                        continue
                    if entry.name.removeprefix("./") == _MANIFEST:
                        manifest = content.read(MAX_DOCUMENT_BYTES + 1)
                    elif named := _BLOB.fullmatch(entry.name):
                        _take(store, f"sha256:{named[1]}", entry.size, content, progress)
        except UNREADABLE as error:
            raise ArtifactError(f"the archive cannot be read: {error}") from error
        if manifest is None or len(manifest) > MAX_DOCUMENT_BYTES:
            raise ArtifactError(f"the archive has no {_MANIFEST} of a model")
        return store.add(manifest)


def _take(store: Store, digest: str, size_bytes: int, content: IO[bytes], progress: Progress) -> None:
    if not store.has_blob(digest, size_bytes):
        with store.write_blob(digest, size_bytes) as writer:
            while data := content.read(_CHUNK_BYTES):
                writer.write(data)
    progress(ProgressEvent("Loading", digest, size_bytes, size_bytes))


def _entry(name: str, size_bytes: int) -> tarfile.TarInfo:
    entry = tarfile.TarInfo(name)
    entry.size = size_bytes
    return entry


def _header(entry: tarfile.TarInfo) -> bytes:
    return entry.tobuf(tarfile.GNU_FORMAT)


def _padded(size_bytes: int) -> int:
    return -(-size_bytes // _BLOCK_BYTES) * _BLOCK_BYTES
