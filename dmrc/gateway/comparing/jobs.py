"""One comparison as the page follows it: what is sent to what, how far it is, and what came of it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

from dmrc.capture.summary import Cells, cells
from dmrc.comparison.matrix import MatrixColumn
from dmrc.comparison.sendable import LeftOut, Sendable
from dmrc.comparison.sending import Answered
from dmrc.exchange import Exchange, JsonValue
from dmrc.gateway.comparing.targets import ComparisonTarget

State = Literal["waiting", "running", "done", "failed", "cancelled"]
"""Of a comparison, or of one of its columns. A comparison does not fail: its columns do."""


@dataclass(frozen=True, slots=True)
class AskedRequest:
    """A recorded request as a row shows it; its content stays in the record."""

    exchange: Exchange
    """Without bodies."""
    cells: Cells
    """What a line shows of it."""
    why: str = ""
    """Why it was not sent again; "" where it was."""

    @classmethod
    def of(cls, one: Sendable | LeftOut) -> AskedRequest:
        """Take what a row shows of a request."""
        why = one.why if isinstance(one, LeftOut) else ""
        light = replace(one.then, request_body=b"", response_body=b"")
        return cls(light, cells(one.then), why)


@dataclass(slots=True)
class ColumnProgress:
    """What one target has answered so far. Written by the job's task and its thread, read by the page."""

    target: ComparisonTarget
    """What answers."""
    state: State = "waiting"
    """How far it is."""
    doing: str = ""
    """What it waits for: `loading llm`, `asking`, `comparing`."""
    answered: list[Answered] = field(default_factory=list)
    """Requests that were answered; empty again when they are compared."""
    count: int = 0
    """How many were answered, when they are compared."""
    problem: str | None = None
    """Why not all were; None where all were, or somebody cancelled it."""
    found: MatrixColumn | None = None
    """What came of it."""

    def to_json(self, total: int) -> dict[str, JsonValue]:
        """Return how far it is."""
        return {
            "state": self.state,
            "doing": self.doing,
            "answered": self.count or len(self.answered),
            "total": total,
            "worse": None if self.found is None else self.found.worse,
        }


class ComparisonJob:
    """One comparison. It lives in memory, and ends with the daemon."""

    def __init__(
        self, id: str, chosen: Sequence[Sendable], left_out: Sequence[LeftOut], targets: Sequence[ComparisonTarget]
    ) -> None:
        """Send `chosen` to each of the targets; `left_out` are only shown."""
        self.id = id
        self.created_at = time.time()
        self.rows = {one.then.id: AskedRequest.of(one) for one in chosen}
        self.left_out = [AskedRequest.of(one) for one in left_out]
        self.columns = [ColumnProgress(target) for target in targets]
        self.chosen: Sequence[Sendable] = chosen
        """With their content; empty when all is compared."""
        self.state: State = "waiting"
        self.asking: asyncio.Task[None] | None = None
        """What sends just now."""

    @property
    def is_over(self) -> bool:
        """Return whether nothing more comes."""
        return self.state in ("done", "cancelled")

    def cancel(self) -> None:
        """Send nothing more; what was answered is compared. One that is over stays as it is."""
        if self.is_over:
            return
        self.state = "cancelled"
        if self.asking is not None:
            self.asking.cancel()

    def finish(self) -> None:
        """Let go of the content, and say of what was not asked that it will not be."""
        self.chosen = ()
        for column in self.columns:
            if column.state in ("waiting", "running"):
                column.state = "cancelled"
        if not self.is_over:
            self.state = "done"

    def to_json(self) -> dict[str, JsonValue]:
        """Return how far it is."""
        total = len(self.rows)
        return {
            "state": self.state,
            "is_over": self.is_over and not self.chosen,
            "columns": [column.to_json(total) for column in self.columns],
        }
