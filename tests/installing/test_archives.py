"""What a build comes in is unpacked whole, or refused; nothing is written outside."""

import io
import os
import stat
import tarfile
import zipfile
from pathlib import Path

import pytest

from dmrc.errors import InputError, StoreError
from dmrc.installing import archives
from dmrc.installing.archives import is_archive, unpack


def _tar(path: Path, *members: tarfile.TarInfo, data: bytes = b"x") -> Path:
    with tarfile.open(path, "w:gz") as tar:
        for member in members:
            member.size = len(data) if member.isreg() else 0
            tar.addfile(member, io.BytesIO(data) if member.isreg() else None)
    return path


def _member(name: str, kind: bytes = tarfile.REGTYPE, link: str = "") -> tarfile.TarInfo:
    member = tarfile.TarInfo(name)
    member.type, member.linkname, member.mode = kind, link, 0o755
    return member


def _zip(path: Path, **members: tuple[int, bytes]) -> Path:
    with zipfile.ZipFile(path, "w") as archive:
        for name, (mode, data) in members.items():
            entry = zipfile.ZipInfo(name)
            entry.external_attr = mode << 16
            archive.writestr(entry, data)
    return path


def _there(directory: Path) -> Path:
    directory.mkdir()
    return directory


def test_a_tar_keeps_programs_and_links_between_its_files(tmp_path: Path) -> None:
    archive = _tar(
        tmp_path / "b.tar.gz",
        _member("b/llama-server"),
        _member("b/lib.so.1"),
        _member("b/lib.so", tarfile.SYMTYPE, "lib.so.1"),
    )

    unpack(archive, place := _there(tmp_path / "place"))

    assert is_archive(archive)
    assert os.access(place / "b" / "llama-server", os.X_OK)
    assert (place / "b" / "lib.so").readlink() == Path("lib.so.1")


def test_a_zip_keeps_programs_and_links_between_its_files(tmp_path: Path) -> None:
    members = {
        "b/lib.so": (stat.S_IFLNK | 0o777, b"lib.so.1"),
        "b/llama-server": (stat.S_IFREG | 0o755, b"x"),
        "b/lib.so.1": (stat.S_IFREG | 0o644, b"y"),
    }

    unpack(archive := _zip(tmp_path / "b.zip", **members), place := _there(tmp_path / "place"))

    assert is_archive(archive)
    assert os.access(place / "b" / "llama-server", os.X_OK)
    assert (place / "b" / "lib.so").read_bytes() == b"y"


@pytest.mark.parametrize(
    "member",
    [
        _member("../out"),
        _member("a/../../out"),
        _member("link", tarfile.SYMTYPE, "/etc/passwd"),
        _member("link", tarfile.SYMTYPE, "../../out"),
        _member("link", tarfile.LNKTYPE, "../out"),
        _member("pipe", tarfile.FIFOTYPE),
        _member("disk", tarfile.BLKTYPE),
    ],
    ids=lambda member: f"{member.name}-{member.type.decode()}",
)
def test_a_tar_that_leads_out_is_refused(tmp_path: Path, member: tarfile.TarInfo) -> None:
    archive = _tar(tmp_path / "b.tar.gz", member)

    with pytest.raises(InputError, match=r"b\.tar\.gz"):
        unpack(archive, _there(tmp_path / "deep"))

    assert sorted(path.name for path in tmp_path.iterdir()) == ["b.tar.gz", "deep"]


@pytest.mark.parametrize(
    ("name", "mode", "data"),
    [
        ("../out", stat.S_IFREG, b"x"),
        ("/tmp/out", stat.S_IFREG, b"x"),
        ("a\\..\\out", stat.S_IFREG, b"x"),
        ("a/link", stat.S_IFLNK, b"../../out"),
        ("link", stat.S_IFLNK, b"/etc/passwd"),
    ],
)
def test_a_zip_that_leads_out_is_refused(tmp_path: Path, name: str, mode: int, data: bytes) -> None:
    archive = _zip(tmp_path / "b.zip", **{name: (mode, data)})

    with pytest.raises(InputError, match="would write outside its directory"):
        unpack(archive, _there(tmp_path / "deep"))

    assert sorted(path.name for path in tmp_path.iterdir()) == ["b.zip", "deep"]


def test_a_zip_writes_no_file_through_a_link_that_it_made(tmp_path: Path) -> None:
    """The link comes first, and a file below its name after it."""
    archive = _zip(tmp_path / "b.zip", **{"a": (stat.S_IFLNK, b"b"), "a/f": (stat.S_IFREG, b"x")})

    with pytest.raises(OSError, match="exists"):
        unpack(archive, _there(tmp_path / "deep"))


@pytest.mark.parametrize("kind", ["tar.gz", "zip"])
def test_an_archive_that_was_cut_off_is_told(tmp_path: Path, kind: str) -> None:
    path = tmp_path / f"b.{kind}"
    noise = os.urandom(1 << 16)
    if kind == "zip":
        _zip(path, f=(stat.S_IFREG, noise))
        whole = path.read_bytes()
        path.write_bytes(whole[:1000] + bytes(1000) + whole[2000:])  # its table is at its end
    else:
        _tar(path, _member("f"), data=noise)
        path.write_bytes(path.read_bytes()[:-1000])

    with pytest.raises(InputError, match="cannot be unpacked"):
        unpack(path, _there(tmp_path / "place"))


def test_what_does_not_fit_the_disk_or_is_no_build_is_refused_before_a_byte_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with zipfile.ZipFile(path := tmp_path / "b.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("zeros", bytes(1 << 20))
    place = _there(tmp_path / "place")

    monkeypatch.setattr(archives, "LARGEST_BYTES", 1000)
    with pytest.raises(InputError, match="has 1048576 bytes, which is no build"):
        unpack(path, place)
    monkeypatch.setattr(archives, "LARGEST_BYTES", 1 << 60)
    monkeypatch.setattr(archives.shutil, "disk_usage", lambda _: _Disk())
    with pytest.raises(StoreError, match="1048576 bytes are needed, 999 are free"):
        unpack(path, place)

    assert list(place.iterdir()) == []


class _Disk:
    free = 999


def test_a_name_or_a_link_that_takes_all_memory_is_refused(tmp_path: Path) -> None:
    """Python's readers hold both in memory, however long they are."""
    tar = _tar(tmp_path / "long.tar", _member("a" * (2 << 20)))
    linked = _zip(tmp_path / "long.zip", link=(stat.S_IFLNK | 0o777, b"a" * 5000))

    for archive, why in ((tar, "is larger than 1 MiB"), (linked, "a link of 5000 bytes")):
        with pytest.raises(InputError, match=why):
            unpack(archive, _there(tmp_path / archive.suffix[1:]))
