"""The report of the last replay or recording of a project: the daemon's, or the one that it left."""

from __future__ import annotations

import json
from pathlib import Path
from urllib.parse import quote

from dmrc.cli.app import App
from dmrc.cli.record.cassette.place import CassettePlace
from dmrc.errors import DaemonNotRunningError, InputError, NotFoundError
from dmrc.fields import JsonObject

_NOBODY = "_nobody"
"""Stands for a project in the name of the report of `dmrc serve --replay`."""


def last_run(app: App, place: CassettePlace) -> JsonObject:
    """Return the report of the last run of the project, of which the shape is that of `ReplayRun.report`.

    Without a project it is the run of `dmrc serve --replay`.

    Raises:
        NotFoundError: There was none.
    """
    project = place.project
    try:
        path = f"/projects/{quote(project, safe='')}/replay" if project else "/replay"
        answer = app.daemon.request("GET", path)
        if isinstance(answer, dict):
            return answer
    except (DaemonNotRunningError, NotFoundError):
        pass  # it may have left one
    return _read(app.settings.paths.replays / f"{project or _NOBODY}.json", project)


def _read(file: Path, project: str | None) -> JsonObject:
    try:
        document = json.loads(file.read_bytes())
    except FileNotFoundError as error:
        if project is None:
            raise NotFoundError(
                "there is no compose file here, and dmrc serve has not replayed", remedy="Name a project: -f FILE"
            ) from error
        raise NotFoundError(
            f"project '{project}' has not been replayed here", remedy="Run: dmrc up --replay, or dmrc exec --replay"
        ) from error
    except ValueError:
        document = None
    if not isinstance(document, dict):
        raise InputError(f"'{file}' is no report of a replay", remedy="Remove it, and replay again")
    return document
