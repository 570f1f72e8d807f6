"""A model out of a runnable image: its files are ranges of the image's layer, each brought and checked by itself."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass

from dmrc.sources.download import ByteRange, DownloadOrigin
from dmrc.sources.retry import TransientError

_SKIP_BYTES = 1 << 20


@dataclass(slots=True)
class _Part:
    """What a server sends of one file in a layer."""

    part: ByteRange
    start: int
    is_whole: bool
    total_bytes: int | None = None

    def read(self, size: int, /) -> bytes:
        return self.part.read(size)


class RangeOrigin:
    """A range of a blob, as an `Origin` of a download."""

    def __init__(self, blob: DownloadOrigin, offset: int) -> None:
        """Take the bytes of `blob` from `offset` on."""
        self._blob = blob
        self._offset = offset

    @contextlib.contextmanager
    def open(self, start: int, end: int) -> Iterator[ByteRange]:
        """Ask for a range; see `Origin.open`. Of a server that knows none the bytes before it are passed over."""
        with self._blob.open(self._offset + start, self._offset + end) as part:
            if not part.is_whole:
                yield _Part(part, part.start - self._offset, is_whole=False)
                return
            left = self._offset
            while left:
                data = part.read(min(_SKIP_BYTES, left))
                if not data:
                    raise TransientError(f"the layer broke off {left} bytes before the file")
                left -= len(data)
            yield _Part(part, 0, is_whole=True)
