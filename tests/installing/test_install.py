"""A build is used after it has worked, and one that does not work costs a line."""

import multiprocessing
import os
import time
from pathlib import Path

import pytest

from dmrc.engines.builds.builds import CHOICE, Builds
from dmrc.errors import BuildError, ConflictError, DigestMismatchError, InputError, NotFoundError, StoreError
from dmrc.installing import contents
from dmrc.installing.contents import bring, file_sha256, name_of
from dmrc.installing.install import Bring, Brought, Installer
from dmrc.installing.places import changing
from tests.groups import LLAMA_SERVER
from tests.installing import fakes
from tests.small_disk import fill, small_disk


def _from(path: Path, sha256: str | None = None) -> Bring:
    return lambda place: Brought(str(path), bring(path, place, sha256))


def _left(builds: Builds) -> list[str]:
    return sorted(path.name for path in builds.directory.iterdir() if path.name != ".lock")


@pytest.mark.engine
def test_a_wheel_is_installed_and_used_and_the_environment_is_as_it_was(
    installer: Installer, builds: Builds, wheel: Path
) -> None:
    before = builds.in_use()

    build, proof = installer.install("mine", _from(wheel))

    assert builds.in_use() == build != before
    assert (build.name, build.version, build.sha256) == ("mine", proof.version, file_sha256(wheel))
    assert build.site == builds.directory / "mine"
    assert 0 <= time.time() - (build.installed_at or 0) < 600
    assert _left(builds) == [CHOICE, "mine"]
    assert build.size_bytes() > 10_000_000
    assert installer.use("xllamacpp")[0].directory is None
    assert builds.in_use().name == "xllamacpp"


@pytest.mark.engine
def test_the_child_of_a_build_imports_that_build(installer: Installer, builds: Builds, tmp_path: Path) -> None:
    """What was installed is found before the environment's own: here it says who it is, and ends."""
    package = tmp_path / "given" / "xllamacpp"
    package.mkdir(parents=True)
    (package / "__init__.py").write_text("raise SystemExit('the build in the directory')")

    with pytest.raises(
        BuildError, match=r"it does not list its devices: died: exit code 1 \(the build in the directory\)"
    ):
        installer.install("mine", _from(package.parent))


@pytest.mark.llama_server
@pytest.mark.parametrize("is_whole", [True, False], ids=["the directory", "the program with its libraries"])
def test_a_llama_server_works_after_the_place_where_it_was_built_is_gone(
    installer: Installer, builds: Builds, tmp_path: Path, is_whole: bool
) -> None:
    assert LLAMA_SERVER is not None
    built = Path(LLAMA_SERVER).resolve()

    build, proof = installer.install("mine", _from(built.parent if is_whole else built))

    assert builds.in_use() == build
    assert build.program == builds.directory / "mine" / "llama-server"
    loaded = {path for path in _libraries(build.argv) if "ggml" in path or "llama" in path}
    assert {str(Path(path).parent) for path in loaded} <= {str(builds.directory / "mine")}
    assert proof.version == build.version != "unknown"


def _libraries(argv: tuple[str, ...]) -> list[str]:
    """Return the shared libraries that the system's loader gives a program."""
    import subprocess

    *environment, program = argv
    listed = subprocess.run([*environment, "ldd", program], capture_output=True, text=True, check=True).stdout
    return [words[2] for line in listed.splitlines() if len(words := line.split()) > 2 and words[1] == "=>"]


@pytest.mark.parametrize(
    ("serving", "why"),
    [
        (fakes.CRASHES, "it loads no model: it was built for another processor"),
        (fakes.EXITS, "it loads no model: it ended with exit code 0"),
        (
            fakes.FAILS,
            "it loads no model: it ended with exit code 127 (error while loading shared libraries: libcudart",
        ),
        (fakes.HANGS, "it does not load a model and answer within 2 s"),
    ],
    ids=["crashes", "exits", "fails", "hangs"],
)
def test_a_build_that_does_not_serve_costs_a_line_and_the_former_one_stays(
    installer: Installer, builds: Builds, tmp_path: Path, serving: str, why: str
) -> None:
    installer._seconds = 2 if serving == fakes.HANGS else 60
    program = fakes.server(tmp_path / "given" / "llama-server", serving)

    with pytest.raises(BuildError) as raised:
        installer.install("mine", _from(program))

    assert str(raised.value).startswith(f"build 'mine' does not work here: {why}")
    assert str(raised.value).endswith("In use stays xllamacpp " + builds.in_use().told_version())
    assert "\n" not in str(raised.value) and raised.value.log_tail == ()
    assert _left(builds) == []
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith("p-")] == []


@pytest.mark.parametrize(
    ("answer", "why"),
    [
        (fakes.SAYS_NONSENSE, "it computes wrongly: the model said 'GGGGGGGG', and should say 'The build works'"),
        (fakes.DIES_WHEN_ASKED, "it loads a model, and breaks off when it is asked: "),
        (fakes.HANGS_WHEN_ASKED, "it does not load a model and answer within 3 s"),
        ("self.answer(b'[]')", "it loads a model, and answers with no text: []"),
        ("self.send_error(500)", "it loads a model, and answers 500: "),
    ],
    ids=["nonsense", "dies", "hangs", "no text", "an error"],
)
def test_a_build_that_loads_and_does_not_answer_is_not_used(
    installer: Installer, builds: Builds, tmp_path: Path, answer: str, why: str
) -> None:
    installer._seconds = 3 if answer == fakes.HANGS_WHEN_ASKED else 60
    program = fakes.answering(tmp_path / "given" / "llama-server", answer)

    with pytest.raises(BuildError) as raised:
        installer.install("mine", _from(program.parent))

    assert f"build 'mine' does not work here: {why}" in str(raised.value)
    assert builds.in_use().name == "xllamacpp" and _left(builds) == []


def test_one_that_sees_no_card_is_refused_where_a_card_was_the_reason(
    installer: Installer, builds: Builds, tmp_path: Path, wheel: Path
) -> None:
    with pytest.raises(BuildError, match=r"build 'mine' sees no graphics card here\. In use stays xllamacpp 20"):
        installer.install("mine", _from(wheel), wants_card=True)

    assert _left(builds) == []


@pytest.mark.engine
def test_a_build_that_works_replaces_the_one_of_its_name_and_a_broken_one_does_not(
    installer: Installer, builds: Builds, tmp_path: Path, wheel: Path
) -> None:
    first, _ = installer.install("mine", _from(wheel))
    with pytest.raises(BuildError):
        installer.install("mine", _from(fakes.server(tmp_path / "given" / "llama-server", fakes.EXITS)))
    assert builds.in_use() == first

    again, _ = installer.install("mine", _from(wheel))

    assert builds.in_use() == again != first
    assert _left(builds) == [CHOICE, "mine"]


@pytest.mark.engine
def test_of_several_builds_the_first_that_works_is_used_and_each_other_one_costs_a_line(
    installer: Installer, builds: Builds, tmp_path: Path, wheel: Path
) -> None:
    crashing = fakes.server(tmp_path / "given" / "llama-server", fakes.CRASHES)
    places, told = {"cu132": crashing, "vulkan": wheel, "cpu": wheel}, list[str]()

    build, _ = installer.install_first(list(places), lambda one: _from(places[one]), told.append)

    assert build.name == "cpu" and builds.in_use() == build
    assert [line.partition(":")[0].partition(".")[0] for line in told] == [
        "build 'cu132' does not work here",
        "build 'vulkan' sees no graphics card here",
    ]
    with pytest.raises(BuildError, match="build 'mine' sees no graphics card here"):
        installer.install_first(["cu132", "vulkan"], lambda one: _from(places[one]), told.append, "mine")
    assert builds.in_use() == build
    assert _left(builds) == ["cpu", CHOICE]


@pytest.mark.engine
def test_removing_what_is_in_use_wants_force_and_what_was_not_installed_stays(
    installer: Installer, builds: Builds, wheel: Path
) -> None:
    installer.install("mine", _from(wheel))

    with pytest.raises(ConflictError, match=r"build 'mine' is in use.*dmrc engine use xllamacpp, or add --force"):
        installer.remove("mine", force=False)
    with pytest.raises(ConflictError, match="'xllamacpp' was not installed by dmrc"):
        installer.remove("xllamacpp", force=True)
    left = installer.remove("mine", force=True)

    assert left == builds.in_use() and left.name == "xllamacpp"
    assert _left(builds) == []


@pytest.mark.engine
def test_a_damaged_build_can_be_removed(installer: Installer, builds: Builds, wheel: Path) -> None:
    installer.install("mine", _from(wheel))
    (builds.directory / "mine" / "build.json").write_text("{")
    assert Builds(builds.directory).in_use().name == "xllamacpp"

    installer.remove("mine", force=True)

    assert _left(builds) == []
    with pytest.raises(NotFoundError):
        installer.remove("mine", force=True)


def test_what_links_of_a_directory_lead_to_is_not_touched(tmp_path: Path) -> None:
    theirs = tmp_path / "theirs"
    program = fakes.server(theirs / "llama-server", fakes.EXITS)
    (given := tmp_path / "given").mkdir()
    (given / "lib").symlink_to(theirs)
    (given / "llama-server").symlink_to(program)
    (given / "locked").mkdir(mode=0o500)
    theirs.chmod(0o755)
    program.chmod(0o555)
    (place := tmp_path / "place").mkdir()

    bring(given, place)
    build = contents.build_in(place, "mine", str(given), None)

    assert build.program == place / "llama-server"
    assert [oct(path.stat().st_mode & 0o777) for path in (theirs, program)] == ["0o755", "0o555"]
    assert os.access(place / "locked", os.W_OK) and (place / "locked").stat().st_mode & 0o700 == 0o700


def test_a_directory_around_the_state_directory_is_no_build(
    installer: Installer, builds: Builds, tmp_path: Path
) -> None:
    with pytest.raises(InputError, match="holds the state directory of dmrc"):
        installer.install("mine", _from(tmp_path))


def test_what_a_killed_install_left_goes_with_the_next_one(installer: Installer, builds: Builds) -> None:
    (builds.directory / ".aside-killed" / "deep").mkdir(parents=True)

    with changing(builds.directory):
        assert _left(builds) == []


def _hold(directory: Path, is_held: object, may_end: object) -> None:
    with changing(directory):
        is_held.set()
        may_end.wait(60)


def test_two_commands_do_not_change_the_builds_at_once(installer: Installer, builds: Builds, tmp_path: Path) -> None:
    context = multiprocessing.get_context("spawn")
    is_held, may_end = context.Event(), context.Event()
    other = context.Process(target=_hold, args=(builds.directory, is_held, may_end))
    other.start()
    try:
        assert is_held.wait(60)
        with pytest.raises(ConflictError, match="another command changes the builds"):
            installer.use("xllamacpp")
    finally:
        may_end.set()
        other.join()


@pytest.mark.tmpfs
def test_a_full_disk_is_told_and_nothing_of_the_build_stays(tmp_path: Path, needs_tmpfs: None) -> None:
    with small_disk(tmp_path / "disk", 4 << 20) as disk:
        builds = Builds(disk / "engines")
        installer = Installer(builds, tmp_path, 60)
        large = tmp_path / "given"
        fakes.server(large / "llama-server", fakes.EXITS)
        (large / "libggml.so").write_bytes(os.urandom(3 << 20))
        (disk / "other").write_bytes(bytes(2 << 20))

        with pytest.raises(StoreError, match=r"the disk of .* is full: .* bytes are needed, .* are free"):
            installer.install("mine", _from(large))

        (disk / "other").unlink()

        def bring_and_fill(place: Path) -> Brought:
            fill(disk)  # somebody else takes the room meanwhile
            return Brought(str(large), contents.bring(large, place))

        unchecked = pytest.MonkeyPatch()
        unchecked.setattr(contents, "check_room", lambda *_: None)
        try:
            with pytest.raises(StoreError, match=r"the disk of .* is full"):
                installer.install("mine", bring_and_fill)
        finally:
            unchecked.undo()

        assert builds.in_use().name == "xllamacpp" and _left(builds) == []


@pytest.mark.parametrize(
    ("text", "why"),
    [(b"hello", "is no directory, archive, wheel or program"), (b"", "is no directory, archive, wheel or program")],
)
def test_a_file_that_is_no_build_is_told(
    installer: Installer, builds: Builds, tmp_path: Path, text: bytes, why: str
) -> None:
    (path := tmp_path / "file").write_bytes(text)

    with pytest.raises(InputError, match=why):
        installer.install("mine", _from(path))
    with pytest.raises(InputError, match="has neither a program llama-server nor a package xllamacpp"):
        (tmp_path / "empty").mkdir()
        installer.install("mine", _from(tmp_path / "empty"))

    assert _left(builds) == []


def test_a_file_with_another_sha256_is_refused(installer: Installer, builds: Builds, tmp_path: Path) -> None:
    program = fakes.server(tmp_path / "given" / "llama-server", fakes.EXITS)

    with pytest.raises(DigestMismatchError, match=f"has the SHA-256 {file_sha256(program)}, and {'0' * 64} was asked"):
        installer.install("mine", _from(program, "0" * 64))
    with pytest.raises(DigestMismatchError, match="is a directory, which has no SHA-256"):
        installer.install("mine", _from(program.parent, "0" * 64))

    assert _left(builds) == []


@pytest.mark.parametrize(
    ("path", "name"),
    [
        ("/d/llama-b9000-bin-ubuntu-vulkan-x64.tar.gz", "llama-b9000-bin-ubuntu-vulkan-x64"),
        ("/d/xllamacpp-2026.10.11549-cp310-abi3-manylinux2014_x86_64.whl", "xllamacpp-2026.10.11549"),
        ("/opt/my llama/build/bin", "my-llama"),
        ("/opt/cuda/bin/llama-server", "cuda"),
        ("/bin", "mine"),
    ],
)
def test_a_build_is_called_by_where_it_came_from(path: str, name: str) -> None:
    assert name_of(Path(path)) == name
