"""How much of a blob has come: a small file that is locked while somebody brings the blob.

Shape: 16 bytes `dmrc-partial-1` filled with NUL, the blob's size and the size of a piece as 64-bit little-endian
numbers, and then one such number for each piece: how many of its bytes, from its first one on, are in the data file.
A number is written after its bytes were. So a process that is killed loses nothing that it wrote; after a power
failure a journal may promise more than the disk has, which the digest at the end shows.
"""

from __future__ import annotations

import mmap
import os
import struct
from pathlib import Path
from typing import Self

from dmrc.store.held_files import lock

PIECE_BYTES = 16 << 20
"""Each piece is brought by one connection. Small, so that the hash can follow; large against a round trip."""

_HEADER = struct.Struct("<16sQQ")
_COUNT = struct.Struct("<Q")
_MAGIC = b"dmrc-partial-1"


class DownloadJournal:
    """The counts of one blob, in memory and on disk. The kernel ends its lock with the process."""

    def __init__(self, path: Path, descriptor: int, size_bytes: int) -> None:
        """Use a file that is open and locked; one that does not fit the blob counts as empty. See `acquire`."""
        self.path = path
        self.size_bytes = size_bytes
        self._descriptor = descriptor
        pieces = -(-size_bytes // PIECE_BYTES)
        header, counts_bytes = _HEADER.pack(_MAGIC, size_bytes, PIECE_BYTES), pieces * _COUNT.size
        data = os.pread(descriptor, len(header) + counts_bytes, 0)
        self.counts = [0] * pieces
        """Bytes of each piece that are there."""
        if data[: len(header)] == header and len(data) == len(header) + counts_bytes:
            self.counts = [count for (count,) in _COUNT.iter_unpack(data[len(header) :])]
        if any(count > self.piece_size(piece) for piece, count in enumerate(self.counts)):
            self.counts = [0] * pieces
        if not any(self.counts):
            os.ftruncate(descriptor, 0)
            os.pwrite(descriptor, header + bytes(counts_bytes), 0)
        # Mapped, since a number is written for every read from a connection; it outlives the process as a write does.
        self._file = mmap.mmap(descriptor, len(header) + counts_bytes)

    @classmethod
    def acquire(cls, path: Path, size_bytes: int) -> Self | None:
        """Open the journal, making it if need be, and lock it; None while another process or thread has it.

        Raises:
            OSError: It cannot be opened or written.
        """
        descriptor = lock(path, os.O_RDWR | os.O_CREAT)
        if descriptor is None:
            return None
        try:
            return cls(path, descriptor, size_bytes)
        except BaseException:
            os.close(descriptor)
            raise

    def piece_size(self, piece: int) -> int:
        """Return how many bytes a piece has when it is whole; the last one is shorter."""
        return min(PIECE_BYTES, self.size_bytes - piece * PIECE_BYTES)

    def record(self, piece: int, count: int) -> None:
        """Remember that so many bytes of a piece are in the data file."""
        self.counts[piece] = count
        _COUNT.pack_into(self._file, _HEADER.size + piece * _COUNT.size, count)

    def clear(self) -> None:
        """Remember that no byte is there."""
        for piece, count in enumerate(self.counts):
            if count:
                self.record(piece, 0)

    def close(self, *, remove: bool) -> None:
        """Give the lock back, with or without the file."""
        self._file.close()
        if remove:
            self.path.unlink(missing_ok=True)
        os.close(self._descriptor)
