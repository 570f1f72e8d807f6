"""The report of the last replay or recording of a project: the daemon's, or the one that it left."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

from dmrc.cli.app import App
from dmrc.cli.record.cassette.place import CassettePlace
from dmrc.errors import DaemonNotRunningError, InputError, NotFoundError
from dmrc.fields import JsonObject


@dataclass(frozen=True, slots=True)
class LastRun:
    """What became of a run."""

    report: JsonObject
    """As `ReplayRun.report` returns it."""
    written_at: float | None
    """Unix seconds of the file; None of a run that goes on."""


def last_run(app: App, place: CassettePlace) -> LastRun:
    """Return the last run of the project.

    Raises:
        InputError: No project is meant.
        NotFoundError: It has had no run.
    """
    if place.project is None:
        raise InputError("there is no compose file here, so no project has run", remedy="Name one: -f FILE")
    path = f"/projects/{quote(place.project, safe='')}/replay"
    try:
        answer = app.daemon.request("GET", path)
        if isinstance(answer, dict) and answer:
            return LastRun(answer, None)
    except (DaemonNotRunningError, NotFoundError):
        pass  # it may have left one
    file = app.settings.paths.replays / f"{place.project}.json"
    return LastRun(_read(file, place.project), file.stat().st_mtime)


def _read(file: Path, project: str) -> JsonObject:
    try:
        document = json.loads(file.read_bytes())
    except FileNotFoundError as error:
        raise NotFoundError(
            f"project '{project}' has not been replayed here", remedy="Run: dmrc up --replay, or dmrc exec --replay"
        ) from error
    except ValueError:
        document = None
    if not isinstance(document, dict):
        raise InputError(f"'{file}' is no report of a replay", remedy="Remove it, and replay again")
    return document
