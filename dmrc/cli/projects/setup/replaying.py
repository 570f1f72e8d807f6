"""Which cassettes a command means, by its options and the compose file, and what it says of them beforehand."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from dmrc.errors import InputError, NotFoundError
from dmrc.project.replay import DEFAULT_CASSETTES, Replay, ReplayMode

if TYPE_CHECKING:
    from dmrc.project import Project, Service
    from dmrc.settings import CaptureLevel


@dataclass(frozen=True, slots=True)
class ReplayWish:
    """What `--record`, `--replay`, `--replay-or-record` and `--replay-speed` say; they win over the compose file."""

    mode: ReplayMode | None = None
    """None where none of the three is given: what the compose file says holds."""
    directory: Path | None = None
    """From the working directory, as a shell completes it; None is the compose file's, or the project's cassettes."""
    speed: float | None = None
    """None is the compose file's."""

    def applied(self, project: Project) -> Project:
        """Return the project with these in place of its own.

        Raises:
            InputError: A speed is given where nothing is replayed.
        """
        before = project.replay
        if self == AS_THE_PROJECT_SAYS:
            return project
        directory = Path.cwd() / self.directory if self.directory is not None else None
        default = before.directory if before else str(project.directory.absolute() / DEFAULT_CASSETTES)
        found = Replay(
            directory=str(directory or default),
            mode=self.mode or (before.mode if before else None),
            speed=self.speed if self.speed is not None else before.speed if before else 0.0,
            ignore=before.ignore if before else (),
        )
        if self.speed is not None and not found.answers:
            raise InputError(
                "--replay-speed is for answers from cassettes, and none are given",
                remedy="Add --replay, or --replay-or-record",
            )
        return replace(project, replay=found)


AS_THE_PROJECT_SAYS = ReplayWish()
"""Of a command that was given none of these options."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AsOthersDo(ReplayWish):
    """Of such a command beside others: where these record or replay the project just now, it does so, too."""

    held: Mapping[str, Replay]
    """What is recorded or replayed just now, by the name of the project."""

    def applied(self, project: Project) -> Project:
        """Return the project as it is up, and say so; where it is not, as it says itself."""
        holding = self.held.get(project.name)
        if holding is None or holding == project.replay:
            return AS_THE_PROJECT_SAYS.applied(project)
        from dmrc.cli.progress import note  # not for help

        note(f"project '{project.name}' is up with --{holding.mode}, and so is this; dmrc down ends that")
        return replace(project, replay=holding)


def check_replay(project: Project, starting: Iterable[Service], capture: CaptureLevel | None) -> list[str]:
    """Return what to say of the cassettes before anything starts: services that have none, of those `starting`.

    Raises:
        InputError: It is to be recorded, and the content of requests is not to be kept.
        NotFoundError: It is to be replayed, and there is no cassette.
    """
    replay = project.replay
    if replay is None or replay.mode is None:
        return []
    if replay.writes and (level := project.capture or capture or "full") != "full":
        said = "x-dmrc.capture" if project.capture else "DMRC_CAPTURE"
        raise InputError(
            f"{said} is '{level}', and a cassette needs what is asked and answered",
            remedy=f"Set {said} to full, or do not record",
        )
    if replay.needs_models:
        return []
    from dmrc.cassettes.cassette import path_of  # not for help

    directory = Path(replay.directory)
    check_cassettes(replay, "dmrc up --record")
    if path_of(directory, None).exists():
        return []  # nobody knows whose requests these are
    wanted = {each.name: path_of(directory, each.name) for each in starting if each in project.callers}
    remedy = "Record it: dmrc up --record"
    return [
        f"{name}: has no cassette {directory.name}/{path.name}, so each request of it is refused. {remedy}"
        for name, path in wanted.items()
        if not path.exists()
    ]


def check_cassettes(replay: Replay, recording: str) -> None:
    """Refuse a replay of nothing; `recording` is the command that makes cassettes.

    Raises:
        NotFoundError: It is to be replayed, and there is no cassette.
    """
    from dmrc.cassettes.cassette import cassettes_in

    if replay.mode == "replay" and not cassettes_in(Path(replay.directory)):
        raise NotFoundError(
            f"there is no cassette in '{replay.directory}'", remedy=f"Make one while models answer: {recording}"
        )


def cassettes_meant(project: Project, word: str) -> str | None:
    """Return what to write where a word is no service, and the directory of an option that stands before it."""
    mode = project.replay.mode if project.replay is not None else None
    return f"For a directory of cassettes write --{mode}={word}" if mode is not None and Path(word).is_dir() else None


def what_holds(replay: Replay | None) -> str | None:
    """Return in one line what cassettes are used for; None where they are not."""
    if replay is None or replay.mode is None:
        return None
    speed = {0.0: "at once", 1.0: "as fast as from the model"}.get(replay.speed, f"{replay.speed:g} times as fast")
    if replay.mode == "record":
        return f"what is asked and answered is written to {replay.directory}"
    if replay.mode == "replay":
        return f"answers come from {replay.directory}, {speed}; no model is pulled, loaded or asked"
    return f"answers come from {replay.directory}, {speed}; models answer the rest, which is added"
