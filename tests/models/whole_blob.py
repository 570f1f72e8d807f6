"""A server that knows no ranges: it sends the whole blob, whatever is asked for."""

from __future__ import annotations

import io
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from dmrc.sources.download import ByteRange


@dataclass
class _Part:
    stream: io.BytesIO
    total_bytes: int | None
    start: int = 0
    is_whole: bool = True

    def read(self, size: int, /) -> bytes:
        return self.stream.read(size)


class WholeBlob:
    """See `DownloadOrigin`."""

    def __init__(self, data: bytes) -> None:
        self.data = data

    @contextmanager
    def open(self, start: int, end: int) -> Iterator[ByteRange]:
        yield _Part(io.BytesIO(self.data), len(self.data))
