"""Pulls onto a disk that is too small, or that somebody else fills meanwhile."""

import os
import subprocess
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler
from pathlib import Path

import pytest

from dmrc.errors import StoreError
from dmrc.sources import Transfer
from dmrc.sources.oci import OciSource
from dmrc.store import Store
from tests.sources.misbehaving import BIG, Misbehaving, respond_range, serve_big
from tests.sources.partial_blobs import content, partial_files, ranges

DISK_BYTES = 60 << 20


@pytest.fixture
def disk(tmp_path: Path, needs_tmpfs: None) -> Iterator[Path]:
    """A disk of 60 MiB."""
    path = tmp_path / "disk"
    path.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={DISK_BYTES}", "tmpfs", path], check=True)
    try:
        yield path
    finally:
        subprocess.run(["umount", path], check=True)


def fill(disk: Path, leave_bytes: int) -> Path:
    """Take all of the disk but so much."""
    path = disk / "filler"
    with path.open("wb") as stream:
        os.posix_fallocate(stream.fileno(), 0, os.statvfs(disk).f_bavail * os.statvfs(disk).f_bsize - leave_bytes)
    return path


def test_a_disk_that_is_too_small_is_told_before_the_first_byte(disk: Path, source: OciSource) -> None:
    filler, store = fill(disk, 30 << 20), Store(disk / "store")

    with Misbehaving(serve_big()) as server:
        with pytest.raises(StoreError, match=r"the disk of the model store .* is full: .* bytes are needed") as caught:
            source.fetch(f"{server.address}/a/b", Transfer(store))
        asked = ranges(server)
        assert partial_files(store) == []
        filler.unlink()
        source.fetch(f"{server.address}/a/b", Transfer(store))

    assert asked == []
    assert caught.value.remedy is not None
    assert content(store) == BIG


def test_who_begins_has_the_room_until_the_end(disk: Path, source: OciSource) -> None:
    """The room is reserved, so that another program that fills the disk gets the error, and not a pull at 90 %."""
    store = Store(disk / "store")

    def answer(handler: BaseHTTPRequestHandler) -> None:
        if not (disk / "filler").exists():
            fill(disk, 1 << 20)
        respond_range(handler, BIG)

    with Misbehaving(serve_big(answer)) as server:
        source.fetch(f"{server.address}/a/b", Transfer(store))

    assert content(store) == BIG


def test_a_disk_that_fills_up_meanwhile_is_told_and_blocks_nothing(
    disk: Path, source: OciSource, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delattr(os, "posix_fallocate")  # as on macOS, where nothing can be reserved
    store, filler = Store(disk / "store"), disk / "filler"

    def answer(handler: BaseHTTPRequestHandler) -> None:
        if not filler.exists():
            free_bytes = os.statvfs(disk).f_bavail * os.statvfs(disk).f_bsize
            filler.write_bytes(bytes(free_bytes - (10 << 20)))
        respond_range(handler, BIG)

    with Misbehaving(serve_big(answer)) as server:
        with pytest.raises(StoreError, match=r"the disk of the model store .* is full"):
            source.fetch(f"{server.address}/a/b", Transfer(store))
        assert partial_files(store) == []
        filler.write_bytes(b"")
        source.fetch(f"{server.address}/a/b", Transfer(store))

    assert content(store) == BIG
