"""The beginning of a file elsewhere, as a stream: what its header says is known without the rest."""

from __future__ import annotations

import io

from dmrc.sources.download import DownloadOrigin

_STEP_BYTES = 2 << 20


class Beginning(io.RawIOBase):
    """A file elsewhere whose beginning is fetched as far as it is read."""

    def __init__(self, origin: DownloadOrigin, size_bytes: int) -> None:
        super().__init__()
        self._origin = origin
        self._size_bytes = size_bytes
        self._position = 0
        self.data = bytearray()

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET, /) -> int:
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self._position, io.SEEK_END: self._size_bytes}[whence]
        self._position = base + offset
        return self._position

    def tell(self) -> int:
        return self._position

    def readinto(self, buffer: bytearray | memoryview, /) -> int:  # type: ignore[override]
        wanted = min(self._position + len(buffer), self._size_bytes)
        if len(self.data) < wanted:
            self._fetch(min(max(wanted, len(self.data) + _STEP_BYTES), self._size_bytes))
        piece = self.data[self._position : wanted]
        buffer[: len(piece)] = piece
        self._position += len(piece)
        return len(piece)

    def _fetch(self, end: int) -> None:
        with self._origin.open(len(self.data), end) as part:
            if part.is_whole:
                self.data.clear()
            while len(self.data) < end and (piece := part.read(end - len(self.data))):
                self.data += piece
