"""Runs comparisons for the page, one after the other: two at a time would slow one another's answers down."""

from __future__ import annotations

import asyncio
import hashlib
import os
import secrets
from collections.abc import Sequence
from functools import partial

from dmrc.background import BackgroundTasks, apart, begin
from dmrc.capture.database import ExchangeDatabase
from dmrc.capture.recorder import Recorder
from dmrc.comparison.changes import source_of
from dmrc.comparison.machine import ProcessorWatch
from dmrc.comparison.matrix import MatrixColumn
from dmrc.comparison.repeating import by_model, report
from dmrc.comparison.sendable import LeftOut, Sendable
from dmrc.comparison.sending import Repetition, Sender
from dmrc.errors import DmrcError, HttpInputError, InputError, NotFoundError
from dmrc.gateway.comparing.jobs import ColumnProgress, ComparisonJob
from dmrc.gateway.comparing.targets import ComparisonTarget
from dmrc.gateway.projects.diffs import Diff, Diffs
from dmrc.project import KEY_PREFIX

MOST_REQUESTS = 200
"""Of one comparison."""
MOST_TARGETS = 6
"""Of one comparison."""
MOST_BYTES = 64 << 20
"""Of the bodies of its requests and their answers."""
MOST_UNDER_WAY = 4
"""Comparisons that run or wait."""
MOST_KEPT = 20
"""Comparisons whose results are kept; the oldest goes."""

_FLUSH_SECONDS = 60.0  # on a machine that is busy the record is seconds behind


class Comparisons:
    """Those of this daemon, in memory. For one event loop; nothing of it blocks."""

    def __init__(self, diffs: Diffs, recorder: Recorder, database: ExchangeDatabase, port: int) -> None:
        """Have `diffs` open the models, and ask the gateway on this port of loopback."""
        self._diffs = diffs
        self._recorder = recorder
        self._database = database
        self._port = port
        self._jobs: dict[str, ComparisonJob] = {}
        self._turn = asyncio.Lock()
        self._tasks = BackgroundTasks("a comparison")

    def begin(
        self, chosen: Sequence[Sendable], left_out: Sequence[LeftOut], targets: Sequence[ComparisonTarget]
    ) -> ComparisonJob:
        """Begin one, or have it wait for its turn.

        Raises:
            InputError: There is nothing to send, or too much.
            HttpInputError: So many are under way that no other is taken.
        """
        if not chosen:
            raise InputError("none of these requests can be sent again", remedy="The page says of each why")
        if not 0 < len(targets) <= MOST_TARGETS or len(chosen) > MOST_REQUESTS:
            raise InputError(
                f"a comparison has 1 to {MOST_TARGETS} targets and {MOST_REQUESTS} requests at most",
                remedy="For more requests: dmrc diff --last N",
            )
        if sum(not job.is_over for job in self._jobs.values()) >= MOST_UNDER_WAY:
            raise HttpInputError(
                f"{MOST_UNDER_WAY} comparisons are under way", status=429, remedy="Wait for one, or cancel it"
            )
        job = ComparisonJob(secrets.token_hex(8), chosen, left_out, targets)
        self._jobs[job.id] = job
        for old in [one.id for one in self._jobs.values() if one.is_over][: max(0, len(self._jobs) - MOST_KEPT)]:
            del self._jobs[old]
        self._tasks.spawn(self._run(job))
        return job

    def get(self, id: str) -> ComparisonJob:
        """Return one.

        Raises:
            NotFoundError: It is not kept any more.
        """
        if (found := self._jobs.get(id)) is None:
            raise NotFoundError(
                f"there is no comparison '{id}' any more: the last {MOST_KEPT} are kept, until the daemon ends",
                remedy="Run it again; each answer is in the record",
            )
        return found

    def all(self) -> list[ComparisonJob]:
        """Return those that are kept, the newest first."""
        return list(self._jobs.values())[::-1]

    async def close(self) -> None:
        """End those under way."""
        await self._tasks.close()

    async def _run(self, job: ComparisonJob) -> None:
        try:
            async with self._turn:
                if not job.is_over:
                    job.state = "running"
                for column in job.columns:
                    if not job.is_over:
                        await self._fill(job, column)
        finally:
            job.finish()

    async def _fill(self, job: ComparisonJob, column: ColumnProgress) -> None:
        """Send all to one target, and compare what is answered; what goes wrong is said in the column."""
        column.state = "running"
        noise = None
        try:
            noise = await self._answers(job, column)
        except DmrcError as error:
            column.problem = str(error)
        except asyncio.CancelledError:
            if job.state != "cancelled":  # the daemon ends
                raise
        column.doing = "comparing"
        try:
            column.found = await apart(partial(self._compared, column, noise), "comparison")
        except DmrcError as error:
            column.problem = str(error)
        column.count, column.answered = len(column.answered), []
        column.state = "failed" if column.problem else "cancelled" if column.count < len(job.rows) else "done"

    async def _answers(self, job: ComparisonJob, column: ColumnProgress) -> str | None:
        """Have all answered; return why the times tell nothing, or None where they do."""
        sources = list(dict.fromkeys(map(source_of, job.chosen)))
        key = KEY_PREFIX + secrets.token_urlsafe(32)
        diff = await self._diffs.begin(column.target.wish(sources, hashlib.sha256(key.encode()).hexdigest()))
        try:
            keys = {source: model.key for source, model in zip(sources, diff.models, strict=True)}
            watch = await asyncio.to_thread(ProcessorWatch, os.getpid())
            if job.is_over:  # cancelled before there was anything to end
                return None
            work = self._ask(column, diff, by_model(job.chosen, keys), key)
            job.asking = begin(work, "a comparison", DmrcError)
            await job.asking
        finally:
            job.asking = None
            await self._diffs.end(diff)
        is_here = any(one.options.upstream is None and one.options.host is None for one in diff.models)
        return await asyncio.to_thread(watch.noise) if is_here else None

    async def _ask(
        self, column: ColumnProgress, diff: Diff, orders: Sequence[tuple[str, list[Repetition]]], key: str
    ) -> None:
        """Load each model, and send what is for it; who cancels this ends the request under way."""
        for model, of_model in orders:
            column.doing = f"loading {model}"
            await self._diffs.load(diff, model)
            column.doing = "asking"
            sender = Sender(self._port, key, column.target.changes.temperature)
            try:
                await apart(partial(_send, sender, of_model, column), "comparison")
            finally:
                sender.stop()

    def _compared(self, column: ColumnProgress, noise: str | None) -> MatrixColumn:
        self._recorder.flush(_FLUSH_SECONDS)
        return MatrixColumn.of(report(self._database, column.answered, untimed=noise))


def _send(sender: Sender, orders: Sequence[Repetition], column: ColumnProgress) -> None:
    for answered in sender.send(orders, 1):
        column.answered.append(answered)
