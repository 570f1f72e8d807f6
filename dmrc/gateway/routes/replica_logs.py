"""What one of several replicas of a runner printed, which may be on another machine."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query

from dmrc.errors import EngineError, NotFoundError
from dmrc.gateway.routes.documents import AnswerDocument
from dmrc.scheduler.scheduler import Scheduler

LONGEST_LINES = 10_000
"""So many lines are asked for at most."""


class ReplicaLog(AnswerDocument):
    """What a replica printed."""

    text: str


class ReplicaLogRoutes:
    """The handler of the admin API."""

    def __init__(self, scheduler: Scheduler) -> None:
        """Ask the runners of `scheduler`."""
        self._scheduler = scheduler

    def add_to(self, router: APIRouter) -> None:
        router.get("/replica-log", response_model=ReplicaLog)(self.log)

    async def log(
        self, runner: str, replica: str, lines: Annotated[int, Query(ge=0, le=LONGEST_LINES)] = 200
    ) -> dict[str, str]:
        """Return the last lines that a replica printed; `runner` is the id of its runner."""
        return {"text": await replica_log(self._scheduler, runner, replica, lines)}


async def replica_log(scheduler: Scheduler, runner: str, replica: str, lines: int) -> str:
    """Return the last lines that a replica of a runner printed.

    Raises:
        NotFoundError: There is no such runner, or it has no replica of this name.
        EngineError: Who has the log cannot be asked.
        DmrcError: It is not to be had.
    """
    known = next((one for one in scheduler.runners() if one.key == runner), None)
    if known is None:
        raise NotFoundError(f"there is no runner '{runner}' any more", remedy="See: dmrc ps")
    if known.replicas is None:
        raise NotFoundError(f"model '{known.name}' has no replicas", remedy="Leave out --replica")
    try:
        return await known.replicas.log(replica, lines)
    except ConnectionError as error:
        raise EngineError(f"the log of replica '{replica}' cannot be read: {error}", remedy="See: dmrc logs") from error
