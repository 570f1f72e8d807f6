"""Archives of models that are made to do harm."""

from __future__ import annotations

import tarfile
from pathlib import Path

import pytest

from dmrc.errors import ArtifactError
from dmrc.models.archives import load_archive
from dmrc.store import Store

_MIB = 1 << 20


class Endless:
    """An archive that begins with some bytes and goes on with letters; it counts what is read."""

    def __init__(self, beginning: bytes, size: int = 400 * _MIB) -> None:
        self.left = size
        self.read_bytes = 0
        self._beginning = beginning

    def read(self, size: int, /) -> bytes:
        """See `ByteStream`."""
        data, self._beginning = self._beginning, b""
        if not data:
            data = b"a" * min(size, self.left)
            self.left -= len(data)
        self.read_bytes += len(data)
        return data


def header(kind: bytes, size: int) -> bytes:
    """The header block of an entry of 400 MB, say."""
    entry = tarfile.TarInfo("x")
    entry.type, entry.size = kind, size
    return entry.tobuf(tarfile.GNU_FORMAT)


def pax(record: bytes) -> bytes:
    data = record.ljust(512, b"\0")
    entry = tarfile.TarInfo("x")
    entry.type, entry.size = tarfile.XHDTYPE, len(record)
    return entry.tobuf(tarfile.GNU_FORMAT) + data + header(tarfile.REGTYPE, 0)


@pytest.mark.parametrize("kind", [b"L", b"K", b"x", b"g", b"X"])
def test_a_name_of_400_mb_is_refused_before_it_is_read(tmp_path: Path, kind: bytes) -> None:
    stream = Endless(header(kind, 400 * _MIB))

    with pytest.raises(ArtifactError, match="larger than 1 MiB"):
        load_archive(Store(tmp_path), stream, lambda event: None)

    assert stream.read_bytes < 3 * _MIB


@pytest.mark.parametrize(
    "record",
    [
        b"999999999999999999999 a=b\n",
        b"22 GNU.sparse.major=1\n",
        b"25 GNU.sparse.size=nonsense\n",
        b"13 size=none\n\0",
        b"21 GNU.sparse.map=a,b\n",
        b"\xff\xfe",
    ],
)
def test_a_pax_header_that_lies_is_the_senders_fault(tmp_path: Path, record: bytes) -> None:
    with pytest.raises(ArtifactError, match="archive"):
        load_archive(Store(tmp_path), Endless(pax(record), size=0), lambda event: None)
