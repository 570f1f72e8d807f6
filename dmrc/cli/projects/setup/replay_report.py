"""What a run with cassettes came to, as a person reads it at its end."""

from __future__ import annotations

import contextlib
import json
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import cast
from urllib.parse import quote

from dmrc.cli.app import App
from dmrc.cli.progress import note
from dmrc.errors import DaemonError, DaemonNotRunningError, DmrcError, NotFoundError
from dmrc.fields import JsonObject, JsonValue
from dmrc.project import Project

HOW_TO_SEE_IT = "it goes on when this command has ended; what was not recorded: dmrc cassette diff"
"""For a run whose end nobody waits for."""

_INTERRUPTED = 130
_NOTHING = "(not there)"


def end_of_run(app: App, project: Project, code: int, run: JsonObject | None) -> int:
    """Say what a run with cassettes came to, and return the exit code: the program's own, else 1 after a miss.

    What was missed before this command joined the `run` is told by those that waited for it then.

    Raises:
        DmrcError: The program ended well, and nobody knows what the run came to.
    """
    if project.replay is None or project.replay.mode is None:
        return code
    try:
        report = _report(app, project.name)
    except DmrcError as error:
        if code == 0:
            raise
        note(f"what the run came to is not known: {error}")
        return code
    if run is not None and report.get("run") == run["run"]:
        report["misses"] = cast(list[JsonValue], report["misses"])[cast(int, run["missed"]) :]
    if code == _INTERRUPTED and sys.stderr.isatty():
        note("")  # a terminal shows `^C` where the cursor was
    for line in report_lines(report):
        note(line)
    has_missed = bool(report.get("misses")) and not project.replay.needs_models
    return code or int(has_missed or bool(report.get("trouble")))


def settle_recording(app: App, project: Project) -> None:
    """Have the daemon write what was recorded of a project so far, before its cassettes are looked for."""
    if project.replay is not None and project.replay.answers:
        with contextlib.suppress(NotFoundError, DaemonNotRunningError):
            app.daemon.request("GET", _path(project.name))


def report_lines(report: JsonObject) -> Iterator[str]:
    """Yield a line for what was recorded and answered of each service, and those of each miss."""
    for service, counts in cast(dict[str, JsonObject], report["services"]).items():
        yield from _service_lines(service, _shown(str(counts["file"])), counts, str(report["mode"]))
    if trouble := report.get("trouble"):
        yield f"not all is recorded: {trouble}"
    misses = cast(list[JsonObject], report["misses"])
    if misses:
        noun = "request was" if len(misses) == 1 else "requests were"
        yield f"{len(misses)} {noun} not recorded, and refused:"
    for miss in misses:
        yield from _miss_lines(miss)


def _service_lines(service: str, cassette: str, counts: JsonObject, mode: str) -> Iterator[str]:
    answered = sum(cast(dict[str, int], counts.get("used") or {}).values())
    names = ("repeated", "recorded", "unchanged", "replaced")
    repeated, recorded, unchanged, replaced = (int(str(counts.get(name) or 0)) for name in names)
    if answered or mode == "replay":
        again = f" ({repeated} of them more often than recorded: the last answer again)" if repeated else ""
        yield f"{service}: {answered} answered from {cassette}{again}"
    if recorded or unchanged or mode == "record":
        changed = f"{replaced} with another answer, " if replaced else ""
        yield f"{cassette}: {recorded + unchanged} recorded ({unchanged} as before, {changed}{recorded - replaced} new)"
    for why, number in cast(dict[str, int], counts.get("left_out") or {}).items():
        yield f"{cassette}: {number} left out: {why}"


def _miss_lines(miss: JsonObject) -> Iterator[str]:
    service = miss.get("service") or "a caller without a service"
    difference = cast(JsonObject, miss.get("difference") or {})
    if not difference or not miss.get("nearest"):
        yield f"  {service}: {miss.get('message')}"
        return
    at = difference.get("at")
    place = str(difference["place"]) + (f", at character {at + 1}" if isinstance(at, int) else "")
    yield f"  {service}: the nearest is {miss['nearest']}, which differs in {place}"
    yield f"    recorded: {difference['recorded'] or _NOTHING}"
    yield f"    asked:    {difference['asked'] or _NOTHING}"


def _report(app: App, project: str) -> JsonObject:
    """Return the report of a run; where the project has ended meanwhile, what the daemon wrote down of it.

    Raises:
        DaemonError: There is none.
    """
    try:
        return cast(JsonObject, app.daemon.request("GET", _path(project)))
    except (NotFoundError, DaemonNotRunningError) as error:
        try:
            return cast(JsonObject, json.loads(last_run(app, project).read_bytes()))
        except (OSError, ValueError):
            raise DaemonError(f"the daemon has no report of project '{project}'", remedy="See: dmrc logs") from error


def _path(project: str) -> str:
    return f"/projects/{quote(project, safe='')}/replay"


def last_run(app: App, project: str) -> Path:
    """Return where the daemon writes what the last run of a project came to."""
    return app.settings.paths.replays / f"{project}.json"


def _shown(file: str) -> str:
    """Return a path as a person writes it: from here, where it lies below."""
    shown = os.path.relpath(file)
    return file if shown.startswith("..") else shown
