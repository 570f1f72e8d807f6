"""A model of the store as a runnable image: put together while it is sent, and never written to the disk."""

from __future__ import annotations

import bisect
import hashlib
import io
import os
import tarfile
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, cast

from dmrc.artifact import (
    IMAGE_CONFIG,
    IMAGE_LAYER,
    MAX_DOCUMENT_BYTES,
    Descriptor,
    ImagedModel,
    Manifest,
    image_manifest,
)
from dmrc.errors import InputError
from dmrc.models.loose_files import loose_files
from dmrc.sources.source import ResumableBlob, WritableBlob
from dmrc.store import Store, StoredModel
from dmrc.store.files import storage_errors

_BLOCK_BYTES = 512
_READ_BYTES = 1 << 20
_OTHERS = ".model"
"""Directory of what a server does not need and the model has: a licence."""


@dataclass(frozen=True, slots=True)
class _Piece:
    """Some bytes of a layer: these, or those of a file."""

    offset: int
    data: bytes
    path: Path | None
    size_bytes: int


class Layer:
    """The tar archive of a model's files, read at any place."""

    def __init__(self, store: Store, model: StoredModel) -> None:
        """See that all of its files are there.

        Raises:
            BlobMissingError: A file is missing.
        """
        self._pieces: list[_Piece] = []
        self.size_bytes = 0
        self.places: dict[str, int] = {}
        """Offset of each of the model's files, by its digest."""
        files = dict(loose_files(store, model).files)
        known = {path.stat().st_ino for path in files.values()}
        digests: dict[int, str] = {}
        for layer in model.manifest.layers:
            with store.open_blob(layer.digest, layer.size_bytes) as stream:
                number, path = os.fstat(stream.fileno()).st_ino, Path(stream.name)
            digests[number] = layer.digest  # files with names are links to these
            if number not in known:
                files[f"{_OTHERS}/{layer.digest[7:19]}"] = path
        for name, path in sorted(files.items()):
            self._add(name, path, digests)
        self._put(bytes(2 * _BLOCK_BYTES))

    def _add(self, name: str, path: Path, digests: Mapping[int, str]) -> None:
        status = path.stat()
        entry = tarfile.TarInfo(name)  # of no owner and no time: the same model is the same bytes
        entry.size, entry.mode = status.st_size, 0o444
        self._put(entry.tobuf(tarfile.GNU_FORMAT))
        if (digest := digests.get(status.st_ino)) is not None:
            self.places[digest] = self.size_bytes
        self._pieces.append(_Piece(self.size_bytes, b"", path, status.st_size))
        self.size_bytes += status.st_size
        self._put(bytes(-status.st_size % _BLOCK_BYTES))

    def _put(self, data: bytes) -> None:
        if data:
            self._pieces.append(_Piece(self.size_bytes, data, None, len(data)))
            self.size_bytes += len(data)

    def open(self) -> LayerStream:
        """Return it as a file."""
        return LayerStream(self._pieces)

    def digest(self, progress: Callable[[int], None]) -> str:
        """Hash it, which reads all of the model; `progress` gets the bytes so far, and may raise."""
        hashed, offset = hashlib.sha256(), 0
        with self.open() as stream:
            while data := stream.read_at(_READ_BYTES, offset):
                hashed.update(data)
                offset += len(data)
                progress(offset)
        return f"sha256:{hashed.hexdigest()}"


class LayerStream(io.RawIOBase):
    """A layer that is open for reading."""

    def __init__(self, pieces: Sequence[_Piece]) -> None:
        """Open files when their turn comes."""
        super().__init__()
        self._pieces = [piece for piece in pieces if piece.size_bytes]
        self._starts = [piece.offset for piece in self._pieces]
        self._open: tuple[Path, BinaryIO] | None = None

    def read_at(self, size: int, offset: int, /) -> bytes:
        """Return at most `size` bytes from `offset` on, of one piece; none at the end.

        Raises:
            StoreError: A file of the model is gone.
        """
        piece = self._pieces[bisect.bisect_right(self._starts, offset) - 1]
        inside = offset - piece.offset
        count = min(size, piece.size_bytes - inside)
        if count <= 0:
            return b""
        if piece.path is None:
            return piece.data[inside : inside + count]
        with storage_errors(piece.path):
            stream = self._stream(piece.path)
            stream.seek(inside)
            return stream.read(count)

    def _stream(self, path: Path) -> BinaryIO:
        if self._open is None or self._open[0] != path:
            self._let_go()
            self._open = path, path.open("rb")
        return self._open[1]

    def _let_go(self) -> None:
        if self._open is not None:
            self._open[1].close()
            self._open = None

    def close(self) -> None:
        self._let_go()
        super().close()


class ImageSink:
    """The blobs of one image, as a push reads them; see `BlobSink`."""

    def __init__(self, layer: Layer, config: bytes) -> None:
        """Give the config, and the layer for every other digest."""
        self._layer = layer
        self._config = config
        self._config_digest = digest_of(config)

    def has_blob(self, digest: str, size_bytes: int) -> bool:  # noqa: ARG002 both are put together here
        return True

    def open_blob(self, digest: str, size_bytes: int, /) -> BinaryIO:  # noqa: ARG002 it was measured here
        """Open the config or the layer."""
        if digest == self._config_digest:
            return cast(BinaryIO, BytesStream(self._config))
        return cast(BinaryIO, self._layer.open())

    def write_blob(self, digest: str | None, size_bytes: int, /) -> AbstractContextManager[WritableBlob]:
        """Refuse: an image is only read."""
        raise NotImplementedError

    def open_partial(self, name: str, size_bytes: int, /) -> AbstractContextManager[ResumableBlob] | None:
        """Refuse: an image is only read."""
        raise NotImplementedError


class BytesStream(io.BytesIO):
    """Bytes that are sent as a file is."""

    def read_at(self, size: int, offset: int, /) -> bytes:
        """Return at most `size` bytes from `offset` on; none at the end."""
        return self.getvalue()[offset : offset + size]


@dataclass(frozen=True, slots=True)
class ModelImage:
    """A model as an image."""

    manifest: Manifest
    """What it consists of."""
    document: bytes
    """Its manifest."""
    sink: ImageSink
    """Where its bytes are."""

    @property
    def digest(self) -> str:
        """Return `sha256:<64 hex>` of its manifest."""
        return digest_of(self.document)


def model_image(store: Store, model: StoredModel, progress: Callable[[int], None] = lambda _done: None) -> ModelImage:
    """Return a model as an image; all of the model is read for its digest.

    Raises:
        BlobMissingError: A file is missing.
        InputError: What its manifest and config say is too long for the config of an image.
    """
    data = store.document(model)
    with store.open_blob(model.manifest.config.digest, model.manifest.config.size_bytes) as stream:
        own_config = stream.read()
    layer = Layer(store, model)
    digest = layer.digest(progress)
    config = ImagedModel(data, own_config, layer.places).image_config(digest)
    if len(config) > MAX_DOCUMENT_BYTES:
        raise InputError(f"model '{model.digest}' says too much of itself for the config of an image")
    described = (
        Descriptor(IMAGE_CONFIG, digest_of(config), len(config)),
        Descriptor(IMAGE_LAYER, digest, layer.size_bytes),
    )
    manifest = Manifest(described[0], (described[1],))
    return ModelImage(manifest, image_manifest(*described), ImageSink(layer, config))


def digest_of(data: bytes) -> str:
    """Return `sha256:<64 hex>` of some bytes."""
    return f"sha256:{hashlib.sha256(data).hexdigest()}"
