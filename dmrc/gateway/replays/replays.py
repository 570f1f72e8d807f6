"""The runs of the projects that record or replay: begun with a registration, ended with a later one or the project."""

from __future__ import annotations

import asyncio
import json
import logging
import secrets
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from dmrc.background import apart
from dmrc.capture.recorder import Recorder
from dmrc.cassettes.runs import ReplayRun
from dmrc.errors import DmrcError, NotFoundError, ProjectError
from dmrc.fields import JsonObject, JsonValue
from dmrc.files import replace_file
from dmrc.gateway.inference.exchange_builder import ExchangeBuilder
from dmrc.gateway.plugins.hooks import Hooks
from dmrc.gateway.replays.asking import RequestReader
from dmrc.gateway.replays.plugins import Answering, Recording
from dmrc.gateway.replays.users import JoinedRun, RunUser
from dmrc.hooks.plugin import Plugin
from dmrc.hooks.plugins import NOBODY
from dmrc.project import Replay
from dmrc.projects import Registration
from dmrc.settings import CaptureLevel

_log = logging.getLogger(__name__)

_SETTLE_SECONDS = 5.0
_NOBODYS_FILE = "_nobody"


@dataclass(frozen=True, slots=True)
class _Running:
    """One run at work."""

    replay: Replay
    """What it is for."""
    run: ReplayRun
    """Its cassettes, and what became of them."""
    plugins: tuple[Plugin, ...]
    """Answer and record for it."""
    id: str = field(default_factory=lambda: secrets.token_hex(4))
    """Tells it from those before and after it."""
    users: list[RunUser] = field(default_factory=list)
    """The commands that began or joined it."""

    @property
    def is_used(self) -> bool:
        """Return whether a command waits for its end still."""
        return any(user.is_there for user in self.users)

    def join(self, user: RunUser | None) -> JoinedRun:
        """Take a command in. Of a service that no other one runs the program starts anew, and so do its answers."""
        if user is not None:
            if user.service and not any(other.service == user.service and other.is_there for other in self.users):
                self.run.rewind(user.service)
            self.users[:] = [*(other for other in self.users if other.is_there), user]
        return JoinedRun(self.id, self.run.missed_so_far)


class Replays:
    """Which project has which run. For one event loop; what reads and writes files runs in threads."""

    def __init__(
        self,
        hooks: Hooks,
        recorder: Recorder,
        reader: RequestReader,
        directory: Path,
        default_level: CaptureLevel,
        requests: Mapping[str, ExchangeBuilder],
    ) -> None:
        """Leave reports in `directory`; `default_level` is what is recorded of a project that says nothing.

        `requests` are those that are being answered, by their ids.
        """
        self._requests = requests
        self._hooks = hooks
        self._recorder = recorder
        self._reader = reader
        self._directory = directory
        self._default_level = default_level
        self._running: dict[str, _Running] = {}
        self._last: dict[str, JsonObject] = {}
        self._turn = asyncio.Lock()

    async def begin(
        self, registration: Registration, user: RunUser | None = None, *, joins: bool = False
    ) -> JoinedRun | None:
        """Begin the run that a registration asks for, in the place of the project's former one; None: it asks for none.

        An equal one goes on while a command waits for its end, and where this registration `joins` what is up.

        Raises:
            CassetteError: A cassette cannot be read; file and line are named.
            ProjectError: It is to be recorded, and its requests may not be.
        """
        wanted = _wanted(registration.replay)
        if wanted is not None and wanted.writes:
            _check_level(registration.capture or self._default_level)
        async with self._turn:
            if wanted is None:
                await self._end(registration.name)
                return None
            before = self._running.get(registration.name)
            if before is not None and before.replay == wanted and (joins or before.is_used):
                changed = await apart(before.run.changed, "the reading of cassettes")
                before.run.use(changed)
                return before.join(user)
            return (await self._begin(registration.name, wanted)).join(user)

    def is_used(self, project: str) -> bool:
        """Return whether a command waits for the end of a project's run."""
        running = self._running.get(project)
        return running is not None and running.is_used

    async def begin_nobodys(self, replay: Replay) -> None:
        """Begin the run of the requests of no project; raises as `begin` does."""
        if replay.writes:
            _check_level(self._default_level)
        async with self._turn:
            await self._begin(NOBODY, replay)

    async def resume(self, registration: Registration) -> None:
        """Begin the run of a project that was up when the last daemon ended; why it cannot is in the log."""
        try:
            await self.begin(registration)
        except DmrcError as error:
            _log.error("project '%s' is neither recorded nor replayed: %s", registration.name, error)

    async def report(self, project: str) -> JsonObject:
        """Return what became of a run so far; of the last one where it has ended. Written to disk as well.

        Raises:
            NotFoundError: The project neither records nor replays.
        """
        async with self._turn:
            running = self._running.get(project)
            if running is not None:
                await self._tell(project, running)
            if project not in self._last:
                raise NotFoundError(
                    f"project '{project}' neither records nor replays", remedy="Run: dmrc up --record or --replay"
                )
            return self._last[project]

    async def end(self, project: str) -> None:
        """End the run that a project has now, and leave its report; not one that begins meanwhile."""
        running = self._running.get(project)
        async with self._turn:
            if self._running.get(project) is running:
                await self._end(project)

    async def close(self) -> None:
        """End all runs."""
        async with self._turn:
            for project in list(self._running):
                await self._end(project)

    async def _begin(self, project: str, wanted: Replay) -> _Running:
        before = self._running.get(project)
        if before is not None:
            await self._tell(project, before)  # what it wrote is to be read
        run = await apart(lambda: ReplayRun.load(wanted), "the reading of cassettes")
        await self._end(project, lambda: _Running(wanted, run, self._plugins(project, wanted, run)))
        return self._running[project]

    def _plugins(self, project: str, replay: Replay, run: ReplayRun) -> tuple[Plugin, ...]:
        added = []
        if replay.answers:
            answering = Answering(run, replay, self._reader)
            added.append(self._hooks.plugins.add("dmrc.replay", answering, project))
        if replay.writes:
            added.append(self._hooks.plugins.add("dmrc.record", Recording(run), project))
        return tuple(added)

    async def _end(self, project: str, begin_next: Callable[[], _Running] | None = None) -> None:
        """End a project's run, and begin the next one at the same moment: no request comes between them."""
        before = self._running.get(project)
        if before is not None:
            await self._tell(project, before)
            del self._running[project]
            for plugin in before.plugins:
                self._hooks.let_go(plugin)
        if begin_next is not None:
            self._running[project] = begin_next()
        if before is not None:
            await apart(before.run.close, "the end of a replay")

    async def _tell(self, project: str, running: _Running) -> None:
        """Take in what was asked so far, and write down what became of the run."""

        def tell() -> JsonObject:
            is_settled = self._recorder.flush(_SETTLE_SECONDS)
            for plugin in running.plugins:
                is_settled &= self._hooks.settle(plugin, _SETTLE_SECONDS)
            running.run.flush()
            report = {**running.run.report(), "project": project or None, "run": running.id}
            lost = sum(plugin.dropped for plugin in running.plugins)
            troubles = [*_troubles(report["trouble"], lost, is_settled or not running.replay.writes)]
            report["trouble"] = "; ".join(troubles) or None
            if (why := self._write(project, report)) is not None:
                report["trouble"] = "; ".join([*troubles, why])
            return report

        await self._all_ended(project)
        self._last[project] = await apart(tell, "the report of a replay")

    async def _all_ended(self, project: str) -> None:
        """Wait for requests whose callers have all of their answers, and may have ended for that."""
        deadline = asyncio.get_running_loop().time() + _SETTLE_SECONDS
        while any(_is_told(request, project) for request in self._requests.values()):
            if asyncio.get_running_loop().time() > deadline:
                return
            await asyncio.sleep(0.005)

    def _write(self, project: str, report: JsonObject) -> str | None:
        """Write a report down; return why it cannot be, which keeps no project from ending."""
        path = self._directory / f"{project or _NOBODYS_FILE}.json"
        try:
            self._directory.mkdir(mode=0o700, exist_ok=True)
            replace_file(path, json.dumps(report, indent=2).encode() + b"\n", 0o600)
        except OSError as error:
            why = f"the report cannot be written to '{path}': {error.strerror}"
            _log.warning("%s", why)
            return why
        return None


def _troubles(of_run: JsonValue, lost: int, is_settled: bool) -> Iterator[str]:
    """Yield what is wrong with a recording."""
    if of_run is not None:
        yield str(of_run)
    if lost:
        yield f"{lost} requests are not recorded: they came faster than they could be taken in"
    if not is_settled:
        yield f"requests of the last moment may be missing here: they were not taken in within {_SETTLE_SECONDS:.0f} s"


def _is_told(request: ExchangeBuilder, project: str) -> bool:
    """Return whether a request is of this project, and its caller has all of its answer."""
    if (request.beginning().project or NOBODY) != project:
        return False
    return request.is_complete or (request.is_stream and request.has_said_done)


def _wanted(replay: Replay | None) -> Replay | None:
    return replay if replay is not None and replay.mode is not None else None


def _check_level(level: CaptureLevel) -> None:
    if level != "full":
        raise ProjectError(
            f"capture is '{level}', and a cassette needs what is asked and answered",
            remedy="Remove x-dmrc.capture (or DMRC_CAPTURE), or do not record",
        )
