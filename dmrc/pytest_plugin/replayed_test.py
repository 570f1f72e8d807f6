"""One test and its run of cassettes: what it asked that is not recorded, and what is recorded that it did not ask."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import cast

import pytest

from dmrc.cassettes.matching import Matcher
from dmrc.cli.app import App
from dmrc.cli.projects.setup.replay_report import report_lines
from dmrc.errors import DmrcError
from dmrc.fields import JsonObject, JsonValue
from dmrc.project import Project
from dmrc.project.injection import URL_NAMES
from dmrc.pytest_plugin.given import NotRecordedWarning, ReplayedService, UnusedRecordingWarning
from dmrc.pytest_plugin.new_recordings import take_over
from dmrc.pytest_plugin.wishes import Wish, shown


@dataclass(slots=True)
class ReplayedTest:
    """A test that runs with cassettes."""

    app: App
    """Asks the daemon."""
    project: Project
    """Is registered for this test alone."""
    item: pytest.Item
    """The test."""
    wish: Wish
    """What the test said."""
    service_name: str
    """The service of the project that it is."""
    service: ReplayedService
    """What it was given."""
    on_end: Callable[[str], None]
    """Is told the name of the project, when the test has ended."""
    new_cassettes: Path | None = None
    """Where it is recorded, before that takes the place of its own cassettes; None where it goes there at once."""
    has_passed: bool = field(default=False, init=False)
    """Whether the test's own code has passed."""
    _told_misses: int = field(default=0, init=False)

    @property
    def foreign_names(self) -> tuple[str, ...]:
        """Return the variables of another server, which must not get our key."""
        return URL_NAMES if self.service.environment.keys() & {*URL_NAMES} else ()

    def new_misses(self) -> str | None:
        """Return what was asked since the last call and is not recorded, with what differs; None where nothing was."""
        try:
            return self._tell_misses(self._report())
        except DmrcError as error:
            return f"dmrc: {error}"

    def end(self) -> str | None:
        """End the run, and return why the test fails for it, if it does. What speaks against its cassette is warned of.

        What fixtures asked at their end is in the report.
        """
        try:
            report = self._report()
            self._keep_recording()
        except DmrcError as error:
            return f"dmrc: {error}"
        finally:
            self.on_end(self.project.name)
        if (missed := self._tell_misses(report)) is not None:
            return missed
        if report.get("trouble"):
            return f"dmrc: {report['trouble']}"
        services = cast(dict[str, JsonObject], report["services"])
        for service, counts in services.items():
            for why, number in cast(dict[str, int], counts.get("left_out") or {}).items():
                self.item.warn(NotRecordedWarning(f"{service}: {number} not recorded: {why}"))
        unused = self._unused(services) if self.has_passed else None
        if unused is not None and self.item.config.getoption("dmrc_strict"):
            return unused
        if unused is not None:
            self.item.warn(UnusedRecordingWarning(unused))
        return None

    def _keep_recording(self) -> None:
        if self.new_cassettes is not None:
            ignore = self.project.replay.ignore if self.project.replay else ()
            directory = Path(self.wish.replay.directory)
            take_over(self.new_cassettes, directory, self.service_name, Matcher(ignore), is_complete=self.has_passed)
            shutil.rmtree(self.new_cassettes)

    def _report(self) -> JsonObject:
        return cast(JsonObject, self.app.daemon.request("GET", f"/projects/{self.project.name}/replay"))

    def _tell_misses(self, report: JsonObject) -> str | None:
        misses = cast(list[JsonValue], report["misses"])
        new = misses[self._told_misses :]
        self._told_misses = len(misses)
        if not new or self.wish.replay.mode != "replay":
            return None
        lines = report_lines({**report, "services": {}, "misses": new})
        how = f"To record it anew: pytest --dmrc-record '{self.wish.node_id}'"
        return "\n".join((*lines, how))

    def _unused(self, services: dict[str, JsonObject]) -> str | None:
        """Return what the test's own cassettes hold in vain; nobody knows that of one that other tests use too."""
        if self.wish.replay.mode != "replay" or not self.wish.is_own_cassette:
            return None
        found = []
        for service, counts in services.items():
            held, used = int(str(counts["interactions"])), len(cast(JsonObject, counts["used"]))
            if held > used:
                path = Path(self.wish.replay.directory, f"{service}.jsonl")
                found.append(f"{shown(path)}: {held - used} of {held} interactions were not asked")
        if not found:
            return None
        return "\n".join((*found, f"To record anew: pytest --dmrc-record '{self.wish.node_id}'"))
