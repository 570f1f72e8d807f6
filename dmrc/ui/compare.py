"""Compare: recorded requests sent to other models or options, and two recorded requests side by side."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated

from fastapi import APIRouter, Query
from fastapi.responses import HTMLResponse, Response
from pydantic import BaseModel, Field

from dmrc.capture.queries import ExchangeFilter
from dmrc.comparison.differences import AnswerDifference
from dmrc.comparison.pair import pair_of
from dmrc.comparison.selection import select, select_ids
from dmrc.comparison.sendable import MASKED, LeftOut, Sendable
from dmrc.errors import DmrcError, InputError, NotFoundError
from dmrc.exchange import JsonValue
from dmrc.gateway.comparing.comparisons import MOST_BYTES, MOST_KEPT, MOST_REQUESTS, MOST_TARGETS
from dmrc.gateway.comparing.jobs import AskedRequest, ComparisonJob
from dmrc.gateway.comparing.targets import elsewhere, target_of
from dmrc.ui.compare_documents import BegunComparison, ComparisonBody, ComparisonProgress
from dmrc.ui.compare_views import KINDS, choices, recent, table
from dmrc.ui.documents import HTML
from dmrc.ui.rendering import LONGEST_SHOWN, page, render

if TYPE_CHECKING:
    from dmrc.gateway.plugins.context import DaemonParts

_LAST = 50


class ChosenRequests(BaseModel):
    """Which requests are compared: some by their ids, or the last of a service."""

    ids: str = Field(default="", description="With commas between; from the list of requests")
    project: str = ""
    service: str = ""
    last: Annotated[int, Field(ge=1, le=MOST_REQUESTS)] = _LAST
    masked: bool = Field(default=False, description="Whether those with masked secrets are chosen, too")
    show: str = Field(default="", description="Any text: the last requests of anybody")

    @property
    def all_ids(self) -> list[str]:
        """Return the ids, each once."""
        return list(dict.fromkeys(id for written in self.ids.split(",") if (id := written.strip())))

    @property
    def is_empty(self) -> bool:
        """Return whether nothing is said."""
        return not (self.all_ids or self.project or self.service or self.show)


class PairQuery(BaseModel):
    """Two recorded requests."""

    then: str = Field(description="Id of the first")
    now: str = Field(description="Id of the second")
    job: str = Field(default="", description="The comparison that sent the second")
    part: str = Field(default="", description="Any text: without a page")


class ComparePages:
    """The handlers."""

    def __init__(self, parts: DaemonParts) -> None:
        """Compare what the daemon records."""
        self._parts = parts

    def add_to(self, router: APIRouter) -> None:
        """Add the routes; the order matters, for an id may be any text."""
        router.get("/ui/compare", response_class=Response, responses=HTML)(self.index)
        router.post("/ui/compare", response_model=BegunComparison)(self.begin)
        router.get("/ui/compare/pair", response_class=Response, responses=HTML)(self.pair)
        router.get("/ui/compare/{id}", response_class=Response, responses=HTML)(self.show)
        router.get("/ui/compare/{id}/progress", response_model=ComparisonProgress)(self.progress)
        router.get("/ui/compare/{id}/matrix", response_class=Response, responses=HTML)(self.matrix)
        router.post("/ui/compare/{id}/cancel", response_model=ComparisonProgress)(self.cancel)

    async def index(self, wanted: Annotated[ChosenRequests, Query()]) -> Response:
        """Return the page where requests and targets are chosen."""
        chosen: list[Sendable] = []
        left_out: list[LeftOut] = []
        error = None
        try:
            chosen, left_out = await asyncio.to_thread(self._selected, wanted)
        except DmrcError as wrong:
            error = wrong
        names = await self._parts.catalog.names(None)
        references = {one.then.model_reference or "" for one in chosen}
        rows = await asyncio.to_thread(_rows, chosen, left_out)
        return await asyncio.to_thread(
            page,
            "compare.html",
            here="compare",
            status=error.http_status if error else 200,
            wanted=wanted,
            error=error,
            rows=rows,
            sendable=len(chosen),
            masked=sum(row.why == MASKED for row in rows),
            choices=choices(names, elsewhere(self._parts.projects), references),
            projects=self._parts.projects.all(),
            recent=[recent(job) for job in self._parts.comparisons.all()],
            most_requests=MOST_REQUESTS,
            most_targets=MOST_TARGETS,
            most_kept=MOST_KEPT,
        )

    async def begin(self, body: ComparisonBody) -> dict[str, str]:
        """Begin a comparison, and say where it is shown."""
        parts = self._parts
        targets = [
            await target_of(target.changes(), target.project, parts.catalog, parts.projects) for target in body.targets
        ]
        chosen, left_out = await asyncio.to_thread(
            select_ids, parts.database, body.ids[: MOST_REQUESTS + 1], with_redacted=body.masked, most_bytes=MOST_BYTES
        )
        chosen.sort(key=lambda one: one.then.received_at)  # as the application asked: what is cached stays so
        job = parts.comparisons.begin(chosen, left_out, targets)
        return {"id": job.id, "url": f"/ui/compare/{job.id}"}

    async def show(self, id: str) -> Response:
        """Return the page of a comparison."""
        return await asyncio.to_thread(_comparison, self._parts.comparisons.get(id))

    async def progress(self, id: str) -> dict[str, JsonValue]:
        """Return how far a comparison is."""
        return self._parts.comparisons.get(id).to_json()

    async def matrix(self, id: str) -> Response:
        """Return the matrix of a comparison without a page."""
        return await asyncio.to_thread(_matrix, self._parts.comparisons.get(id))

    async def cancel(self, id: str) -> dict[str, JsonValue]:
        """Cancel a comparison; what was answered stays."""
        job = self._parts.comparisons.get(id)
        job.cancel()
        return job.to_json()

    async def pair(self, wanted: Annotated[PairQuery, Query()]) -> Response:
        """Return two requests side by side, with their answers."""
        known = None
        if wanted.job:
            known = _differences(self._parts.comparisons.get(wanted.job), wanted)
        return await asyncio.to_thread(self._pair, wanted, known)

    def _selected(self, wanted: ChosenRequests) -> tuple[list[Sendable], list[LeftOut]]:
        database, ids = self._parts.database, wanted.all_ids
        if len(ids) > MOST_REQUESTS:
            raise InputError(
                f"{len(ids)} requests are chosen, and {MOST_REQUESTS} are compared at once",
                remedy="For more: dmrc diff --last N",
            )
        if ids:
            return select_ids(database, ids, with_redacted=wanted.masked, most_bytes=MOST_BYTES)
        if wanted.is_empty:
            return [], []
        query = ExchangeFilter(project=wanted.project or None, service=wanted.service or None)
        return select(database, query, wanted.last, with_redacted=wanted.masked)

    def _pair(self, wanted: PairQuery, known: Sequence[AnswerDifference] | None) -> Response:
        database = self._parts.database
        pair = pair_of(database.get(wanted.then), database.get(wanted.now), LONGEST_SHOWN)
        found = pair.differences if known is None else known
        if wanted.part:
            return HTMLResponse(render("pair_part.html", pair=pair, found=found, job=wanted.job, kinds=KINDS))
        return page("pair.html", here="compare", pair=pair, found=found, job=wanted.job, kinds=KINDS)


def _comparison(job: ComparisonJob) -> Response:
    return page("comparison.html", here="compare", job=job, matrix=table(job), most_kept=MOST_KEPT)


def _matrix(job: ComparisonJob) -> Response:
    return HTMLResponse(render("matrix.html", matrix=table(job)))


def _rows(chosen: list[Sendable], left_out: list[LeftOut]) -> list[AskedRequest]:
    """Return the requests as a table has them, the newest first."""
    both: list[Sendable | LeftOut] = [*chosen, *left_out]
    rows = [AskedRequest.of(one) for one in both]
    return sorted(rows, key=lambda row: row.exchange.received_at, reverse=True)


def _differences(job: ComparisonJob, wanted: PairQuery) -> Sequence[AnswerDifference]:
    """Return what a comparison found; it knows which answers are slower, for it has all of them."""
    for column in job.columns:
        cell = None if column.found is None else column.found.cells.get(wanted.then)
        if cell is not None and cell.again_id == wanted.now:
            return cell.differences
    raise NotFoundError(f"comparison '{job.id}' has no answer '{wanted.now}'", remedy="Open it from its matrix")
