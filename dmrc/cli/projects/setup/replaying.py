"""Which cassettes a command means, by its options and the compose file, and what it says of them beforehand."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from dmrc.errors import InputError, NotFoundError
from dmrc.project.replay import DEFAULT_CASSETTES, Replay, ReplayMode

if TYPE_CHECKING:
    from dmrc.project import Project, Service
    from dmrc.settings import CaptureLevel

_ANYONE = "_anyone"
"""The cassette of requests of which nobody knows the service, by a key of the whole project."""


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
    directory = Path(replay.directory)
    if not any(directory.glob("*.jsonl")):
        raise NotFoundError(
            f"there is no cassette in '{directory}'", remedy="Make one while models answer: dmrc up --record"
        )
    if (directory / f"{_ANYONE}.jsonl").exists():
        return []
    return [
        f"{service.name}: has no cassette {directory.name}/{service.name}.jsonl, so each request of it is refused."
        " Record it: dmrc up --record"
        for service in starting
        if service in project.callers and not (directory / f"{service.name}.jsonl").exists()
    ]


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
