"""What a source of models is: the Protocol that plugins implement behind `dmrc_register_sources`."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO, Protocol

from dmrc.errors import CancelledError
from dmrc.reference import Reference
from dmrc.sources.connections import Connections


@dataclass(frozen=True, slots=True)
class ProgressEvent:
    """One step of a pull, of a push, or of packaging."""

    status: str
    """What happens, for people: `Waiting`, `Downloading`, `Pull complete`, `Waiting for another pull of ai/smollm2`."""
    layer: str | None = None
    """Digest of the blob that the step is about, or the name of the file; None when it is about the whole model."""
    current_bytes: int = 0
    """Bytes of the layer that are where they should be."""
    size_bytes: int = 0
    """Size of the layer; 0 without one."""
    was_there: bool = False
    """Whether the layer was where it should be before, so that nothing had to travel."""
    is_resumed: bool = False
    """Whether `current_bytes` are of an earlier attempt, so that they say nothing of how fast it goes."""


class Progress(Protocol):
    """Hears how a transfer goes on. It should return at once."""

    def __call__(self, event: ProgressEvent, /) -> None:
        """Take one event. Events may come from several threads, but never two at the same time."""


class WritableBlob(Protocol):
    """A blob that is being written in one go."""

    digest: str | None
    """`sha256:<64 hex>`; where it was not known before, from the end of the block on."""

    def write(self, data: bytes, /) -> None:
        """Append bytes."""

    def copy(self, path: Path, progress: Callable[[int], None], /) -> None:
        """Make it a copy of a file; `progress` gets the bytes so far."""


class ResumableBlob(Protocol):
    """A blob that comes in pieces, in any order. What came is kept when its block ends without `finish`.

    `write` may be called by several threads at once, the rest by one.
    """

    received: int
    """Bytes that are there."""
    is_resumed: bool
    """Whether some of them are from an earlier attempt."""

    def missing(self) -> Sequence[tuple[int, int]]:
        """Return where bytes are missing: the first and one past the last of each piece, in order."""

    def write(self, offset: int, data: bytes, /) -> None:
        """Put bytes at their place, each piece from its first byte on; those that are there are passed over."""

    def hash_some(self) -> bool:
        """Hash a few of the bytes that are there without a gap; return False when there are none."""

    def finish(self, digest: str | None) -> str:
        """Check the whole blob and give it its name; return its digest.

        Raises:
            DigestMismatchError: The bytes are not those of `digest`.
        """

    def restart(self) -> None:
        """Forget all bytes; without new ones, nothing is kept."""


class BlobSink(Protocol):
    """Where blobs lie: the store, seen by a source. Several threads may use it at once."""

    def has_blob(self, digest: str, size_bytes: int) -> bool:
        """Return whether the blob is there already."""

    def write_blob(self, digest: str | None, size_bytes: int, /) -> AbstractContextManager[WritableBlob]:
        """Return a context manager that keeps the blob when its block ends well and the digest is right."""

    def open_blob(self, digest: str, size_bytes: int, /) -> BinaryIO:
        """Open a blob that is there for reading.

        Raises:
            StoreError: It is not there, or not whole.
        """

    def open_partial(self, name: str, size_bytes: int, /) -> AbstractContextManager[ResumableBlob] | None:
        """Hold a blob, named by its digest or otherwise; None while another thread or process brings it."""


@dataclass(slots=True)
class Transfer:
    """One pull or push on its way: where the blobs lie, who hears about it, and whether it should stop."""

    sink: BlobSink
    """Takes the blobs, or gives them."""
    progress: Progress = lambda _event: None
    """Hears every step; call `report` instead, which calls it for one thread at a time."""
    cancelled: Callable[[], bool] = lambda: False
    """Says whether to stop. It is asked often, from any thread."""
    connections: Connections = field(default_factory=Connections)
    """Shared by all transfers of the process, which it keeps to a few connections at a time."""
    formats: frozenset[str] | None = None
    """Formats of models that are wanted: `gguf`, `safetensors`. None is any, a GGUF file before others."""
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def report(self, event: ProgressEvent) -> None:
        """Tell `progress`."""
        with self._lock:
            self.progress(event)

    def check(self) -> None:
        """Raise when the transfer should stop.

        Raises:
            CancelledError: `cancelled` says so.
        """
        if self.cancelled():
            raise CancelledError("the transfer was cancelled")

    def pause(self, seconds: float) -> None:
        """Wait, unless the transfer should stop.

        Raises:
            CancelledError: `cancelled` says so.
        """
        deadline = time.monotonic() + seconds
        while (left := deadline - time.monotonic()) > 0:
            self.check()
            time.sleep(min(left, 0.1))


class Source(Protocol):
    """One kind of place where models come from. Methods block, and may be called from any thread."""

    name: str
    """For messages: `oci`."""

    def recognize(self, text: str) -> Reference | None:
        """Return the name that the model has in the store, or None when `text` is not for this source.

        Sources are asked in their order of registration, and the first that recognizes the text gets it.

        Raises:
            InvalidReferenceError: It would be for this source, but is malformed.
        """

    def fetch(self, text: str, transfer: Transfer) -> bytes:
        """Bring all blobs of the model into `transfer.sink`, and return the manifest.

        When it fails, is cancelled or interrupted, what came of a blob waits in the sink for the next attempt.

        Raises:
            ModelNotFoundError: There is no such model.
            RegistryError: The place, or the network on the way to it, failed.
            ArtifactError: There is something by that name, but no model that can be served.
            FormatError: There is one, in a format that `transfer.formats` leaves out.
            CancelledError: `transfer.cancelled` said so.
        """
