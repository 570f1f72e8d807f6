"""`--record`, `--replay` and `--replay-or-record`: what they mean, and what is refused before anything starts."""

from __future__ import annotations

from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from dmrc.cli.projects.exec import exec_
from dmrc.cli.projects.setup.project_files import Allowed
from dmrc.cli.projects.setup.replaying import ReplayWish, check_replay, what_holds
from dmrc.cli.projects.setup.started import started
from dmrc.cli.replay_options import ReplayCommand, replay_options
from dmrc.errors import InputError, NotFoundError
from dmrc.project import Project, Replay


def said(*arguments: str) -> tuple[ReplayWish, tuple[str, ...]]:
    """Return what a command line means, and the words that are left."""
    got: list[tuple[ReplayWish, tuple[str, ...]]] = []

    @click.command(cls=ReplayCommand)
    @replay_options
    @click.argument("words", nargs=-1, type=click.UNPROCESSED)
    def command(replaying: ReplayWish, words: tuple[str, ...]) -> None:
        got.append((replaying, words))

    done = CliRunner().invoke(command, arguments)
    if done.exit_code:
        raise click.UsageError(done.output)
    return got[0]


def project(replay: object = None, directory: Path = Path("/shop"), **more: object) -> Project:
    options = {**({"replay": replay} if replay is not None else {}), **more}
    services = {"web": {"image": "x", "models": ["llm"]}, "db": {"image": "x"}}
    document = {"name": "shop", "services": services, "models": {"llm": {"model": "ai/x"}}, "x-dmrc": options}
    return Project.parse(document, (directory / "compose.yaml",))


@pytest.mark.parametrize(
    ("arguments", "wish", "words"),
    [
        (["--replay", "web"], ReplayWish("replay"), ("web",)),
        (["web", "--replay"], ReplayWish("replay"), ("web",)),
        (["--replay=tapes", "web"], ReplayWish("replay", Path("tapes")), ("web",)),
        (["--replay", "web", "--", "--record"], ReplayWish("replay"), ("web", "--record")),
        (["--replay", "--", "pytest", "--replay=x"], ReplayWish("replay"), ("pytest", "--replay=x")),
        (["--record", "--replay-speed", "1"], ReplayWish("record", None, 1.0), ()),
        (["--replay-or-record", "api"], ReplayWish("replay-or-record"), ("api",)),
        (["api"], ReplayWish(), ("api",)),
    ],
)
def test_only_what_follows_an_equals_sign_is_the_directory(
    arguments: list[str], wish: ReplayWish, words: tuple[str, ...]
) -> None:
    assert said(*arguments) == (wish, words)


def test_a_directory_after_a_space_is_told_from_a_service(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "tapes").mkdir()

    with pytest.raises(NotFoundError, match=r"has no service 'tapes'. For a directory .* write --replay=tapes"):
        started(ReplayWish("replay").applied(project()), ["tapes"])
    with pytest.raises(NotFoundError, match=r"has no service 'tapes'. Services: web, db"):
        started(project(), ["tapes"])


def test_help_writes_the_directory_as_it_is_to_be_written() -> None:
    shown = CliRunner().invoke(exec_, ["--help"]).output

    assert "--record[=DIR] " in shown
    assert "--replay-or-record[=DIR] " in shown


def test_two_modes_are_refused() -> None:
    with pytest.raises(click.UsageError, match="--record and --replay exclude one another"):
        said("--replay", "--record=x")


def test_options_win_over_the_compose_file() -> None:
    written = project({"cassettes": "./tapes", "mode": "record", "ignore": ["user_id"]})

    assert ReplayWish("replay", None, 2.0).applied(written).replay == Replay(
        directory="/shop/tapes", mode="replay", speed=2.0, ignore=("user_id",)
    )
    assert ReplayWish().applied(written).replay == written.replay
    assert ReplayWish("record").applied(project()).replay == Replay(directory="/shop/cassettes", mode="record")


def test_a_directory_of_the_command_line_begins_where_the_command_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)

    found = ReplayWish("replay", Path("tapes")).applied(project()).replay

    assert found == Replay(directory=str(tmp_path / "tapes"), mode="replay")


def test_a_speed_without_a_replay_is_refused() -> None:
    with pytest.raises(InputError, match="--replay-speed is for answers from cassettes"):
        ReplayWish("record", None, 1.0).applied(project())


def test_a_compose_file_names_no_cassettes_outside_of_the_project(tmp_path: Path) -> None:
    """It may come from anywhere, and a recording writes there."""
    own = tmp_path / "shop"
    allowed, outside = Allowed((own,), ()), project("../elsewhere", own)

    with pytest.raises(InputError, match=r"x-dmrc.replay: .* lies outside of the project"):
        allowed.with_cassettes(outside)
    assert Allowed((own,), (tmp_path,)).with_cassettes(outside).replay is not None


@pytest.mark.parametrize("mode", ["record", "replay-or-record"])
def test_a_recording_of_what_is_not_kept_is_refused(mode: str) -> None:
    with pytest.raises(InputError, match=r"x-dmrc.capture is 'metadata', and a cassette needs what is asked"):
        check_replay(project({"mode": mode}, capture="metadata"), [], None)
    with pytest.raises(InputError, match="DMRC_CAPTURE is 'off'"):
        check_replay(project({"mode": mode}), [], "off")


def test_a_replay_without_a_cassette_is_refused(tmp_path: Path) -> None:
    with pytest.raises(NotFoundError, match=r"there is no cassette in '.*tapes'. Make one .* dmrc up --record"):
        check_replay(project("tapes", tmp_path), [], "off")


def test_a_service_without_a_cassette_is_named_at_once(tmp_path: Path) -> None:
    tapes = tmp_path / "tapes"
    tapes.mkdir()
    (tapes / "other.jsonl").touch()
    found = project("tapes", tmp_path)
    starting = list(found.services.values())

    lines = check_replay(found, starting, None)
    (tapes / "web.jsonl").touch()

    assert lines == [
        "web: has no cassette tapes/web.jsonl, so each request of it is refused. Record it: dmrc up --record"
    ]
    assert check_replay(found, starting, None) == []


def test_what_holds_is_one_line() -> None:
    replay = Replay(directory="/c", mode="replay-or-record", speed=1.0)

    assert (
        what_holds(replay) == "answers come from /c, as fast as from the model; models answer the rest, which is added"
    )
    assert what_holds(Replay(directory="/c", ignore=("x",))) is None
