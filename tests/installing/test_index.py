"""A build out of an index: the one for this machine, of this version, with a SHA-256 that is known beforehand."""

from __future__ import annotations

import json
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path

import pytest

from dmrc.engines.builds.builds import CHOICE, Builds
from dmrc.errors import BuildError, DigestMismatchError, InputError, RegistryError, StoreError
from dmrc.installing.contents import file_sha256
from dmrc.installing.index import Index, Wheel, best
from dmrc.installing.install import Bring, Brought, Installer
from dmrc.sources import Transfer
from dmrc.store import Store
from tests.installing.wheel_index import put, serving
from tests.small_disk import small_disk

VERSION = metadata.version("xllamacpp")


def _index(url: str, fetched: Path, **options: object) -> Index:
    return Index(url, fetched, Transfer(Store(fetched)), **options)  # type: ignore[arg-type]


def _from(url: str, fetched: Path, sha256: str | None = None) -> Bring:
    def bring(place: Path) -> Brought:
        index = _index(url, fetched)
        wheel = index.wheel(VERSION)
        return index.bring(wheel, sha256 or index.sha256_of(wheel), place)

    return bring


@pytest.fixture
def fetched(builds: Builds) -> Path:
    return builds.directory / ".fetched"


@pytest.fixture
def site(tmp_path: Path) -> Iterator[tuple[Path, str]]:
    directory = tmp_path / "site"
    directory.mkdir()
    with serving(directory) as url:
        yield directory, url


def _left(builds: Builds) -> list[str]:
    return sorted(path.name for path in builds.directory.iterdir() if path.name != ".lock")


@pytest.mark.engine
def test_the_wheel_of_an_index_is_fetched_checked_and_used(
    installer: Installer, builds: Builds, fetched: Path, wheel: Path, site: tuple[Path, str]
) -> None:
    directory, url = site
    put(directory, wheel)

    build, proof = installer.install("cpu", _from(f"{url}/", fetched))

    assert builds.in_use() == build
    assert (build.source, build.sha256) == (f"{url}/xllamacpp/{wheel.name}", file_sha256(wheel))
    assert build.version == proof.version == VERSION
    assert _left(builds) == ["cpu", CHOICE]


@pytest.mark.engine
def test_another_file_than_the_index_says_is_not_installed(
    installer: Installer, builds: Builds, fetched: Path, wheel: Path, site: tuple[Path, str]
) -> None:
    directory, url = site
    put(directory, wheel, mark=f"#sha256={'0' * 64}")

    with pytest.raises(
        DigestMismatchError, match=rf"{wheel.name}' is not the file with the SHA-256 0{{64}}, and is not"
    ):
        installer.install("cpu", _from(url, fetched))

    assert builds.in_use().directory is None
    assert [path for path in fetched.rglob("*") if path.is_file() and path.stat().st_size > 1 << 20] == []


@pytest.mark.engine
def test_without_a_sha256_of_the_index_the_user_must_say_it(
    installer: Installer, builds: Builds, fetched: Path, wheel: Path, site: tuple[Path, str]
) -> None:
    directory, url = site
    put(directory, wheel, mark="")

    with pytest.raises(RegistryError, match=rf"does not say which SHA-256 '{wheel.name}' has.*--sha256 HEX"):
        installer.install("cpu", _from(url, fetched))
    with pytest.raises(DigestMismatchError):
        installer.install("cpu", _from(url, fetched, "1" * 64))
    installer.install("cpu", _from(url, fetched, file_sha256(wheel)))

    assert builds.in_use().name == "cpu"


@pytest.mark.engine
def test_a_wheel_that_is_damaged_where_it_lies_is_told(
    installer: Installer, builds: Builds, fetched: Path, wheel: Path, tmp_path: Path, site: tuple[Path, str]
) -> None:
    directory, url = site
    (tmp_path / "cut").mkdir()
    cut = tmp_path / "cut" / wheel.name
    cut.write_bytes(wheel.read_bytes()[: 1 << 20])
    put(directory, cut)

    with pytest.raises(InputError, match="cannot be unpacked"):
        installer.install("cpu", _from(url, fetched))

    assert builds.in_use().directory is None
    assert _left(builds) == []


@pytest.mark.engine
@pytest.mark.tmpfs
def test_a_disk_that_has_no_room_for_the_wheel_is_told(wheel: Path, tmp_path: Path, site: tuple[Path, str]) -> None:
    directory, url = site
    put(directory, wheel)
    with small_disk(tmp_path / "disk", 20 << 20) as disk:
        builds = Builds(disk / "engines")
        installer = Installer(builds, tmp_path, 60)

        with pytest.raises(StoreError, match=r"the disk of .* is full"):
            installer.install("cpu", _from(url, builds.directory / ".fetched"))

        assert builds.in_use().directory is None and builds.installed() == []


def test_an_index_that_cannot_be_asked_is_told_with_the_other_ways(
    installer: Installer, builds: Builds, fetched: Path, site: tuple[Path, str]
) -> None:
    _, url = site

    with pytest.raises(
        BuildError,
        match=r"nothing at '.*/nowhere/xllamacpp/'.*DMRC_ENGINE_INDEX, or a file by --from",
    ):
        installer.install("cpu", _from(f"{url}/nowhere", fetched))
    with pytest.raises(RegistryError, match=r"cannot be reached: .*Connection refused.*--from"):
        installer.install("cpu", _from("http://127.0.0.1:1", fetched))

    assert _left(builds) == []


def test_an_index_without_the_version_says_which_it_has(fetched: Path, site: tuple[Path, str]) -> None:
    directory, url = site
    put(directory, more='<a href="xllamacpp-2026.1.1-cp310-abi3-manylinux2014_x86_64.whl">x</a><a href="LICENSE">x</a>')

    with pytest.raises(
        BuildError, match=rf"index '{url}' has no xllamacpp 9\.9 for this machine; it has 2026\.1\.1\. "
    ):
        _index(url, fetched).wheel("9.9")


def test_the_wheel_that_this_python_likes_most_is_chosen() -> None:
    from packaging.tags import sys_tags

    tags = [str(tag) for tag in sys_tags()]
    links = [
        Wheel("xllamacpp-1.0-cp27-cp27m-win32.whl", "u", None),
        Wheel(f"xllamacpp-1.0-{tags[-1]}.whl", "u", None),
        Wheel(f"xllamacpp-1.0+cu128-{tags[0]}.whl", "u", None),
        Wheel(f"xllamacpp-2.0-{tags[0]}.whl", "u", None),
        Wheel(f"other-1.0-{tags[0]}.whl", "u", None),
        Wheel("xllamacpp-1.0.tar.gz", "u", None),
    ]

    assert best(links, "1.0") == links[2]
    assert best(links[:1], "1.0") is None


def test_a_file_that_was_withdrawn_is_left_out_and_links_may_lead_elsewhere(
    fetched: Path, site: tuple[Path, str]
) -> None:
    from packaging.tags import sys_tags

    directory, url = site
    file = f"xllamacpp-1.0-{next(sys_tags())}.whl"
    put(directory, more=f'<a href="{file}" data-yanked="broken">x</a>')
    with pytest.raises(BuildError):
        _index(url, fetched).wheel("1.0")
    put(directory, more=f'<a href="https://files.example/d/{file}#sha256={"a" * 64}">x</a>')

    assert _index(url, fetched).wheel("1.0") == Wheel(file, f"https://files.example/d/{file}", "a" * 64)


@pytest.mark.parametrize(
    ("digest", "found"),
    [(f"sha256:{'b' * 64}", True), (None, False), ("sha512:00", False)],
    ids=["known", "old", "other"],
)
def test_the_sha256_of_a_file_of_a_release_is_what_github_computed(
    fetched: Path, site: tuple[Path, str], digest: str | None, found: bool
) -> None:
    """xllamacpp's own index is a list of files of its releases on GitHub, without fragments."""
    directory, url = site
    wheel = Wheel("x.whl", "https://github.com/org/repo/releases/download/v1.0-cu128/x.whl", None)
    release = directory / "repos/org/repo/releases/tags"
    release.mkdir(parents=True)
    assets = [{"name": "other.whl", "digest": f"sha256:{'c' * 64}"}, {"name": "x.whl", "digest": digest}]
    (release / "v1.0-cu128").write_text(json.dumps({"assets": assets}))
    index = _index(url, fetched, github=url)
    with pytest.raises(RegistryError, match="does not say which"):
        index.sha256_of(Wheel("x.whl", "https://github.com/org/repo/releases/download/gone/x.whl", None))

    if found:
        assert index.sha256_of(wheel) == "b" * 64
    else:
        with pytest.raises(RegistryError, match=r"does not say which SHA-256 'x\.whl' has"):
            index.sha256_of(wheel)


@pytest.mark.parametrize("url", ["http://mirror.example/whl", "ftp://mirror.example", "whl", "https://"])
def test_a_url_that_is_none_or_not_https_is_refused(fetched: Path, url: str) -> None:
    with pytest.raises(InputError):
        _index(url, fetched)


def test_a_password_of_the_index_is_for_its_host_and_in_no_record(fetched: Path) -> None:
    index = _index("https://me:secret@mirror.example/whl/", fetched)

    assert index.url == "https://mirror.example/whl"
    assert "secret" not in repr(vars(index))
    with pytest.raises(RegistryError, match="which is not https"):
        index.bring(Wheel("x.whl", "http://mirror.example/x.whl", None), "0" * 64, fetched)
