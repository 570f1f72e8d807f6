"""The routes of the admin API behind `dmrc faults`."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter
from pydantic import Field

from dmrc.gateway.faults.faults import MadeFaults
from dmrc.gateway.routes.admin_documents import AdminBody, Done
from dmrc.gateway.routes.documents import AnswerDocument
from dmrc.gateway.routes.json_forms import JsonForm
from dmrc.project import FaultPlan

FaultPlanForm = Annotated[FaultPlan, JsonForm(FaultPlan.from_json)]
"""A plan, as `dataclasses.asdict` writes it."""


class FaultsBody(AdminBody):
    """What is to hold for whom."""

    service: str | None = Field(description="Name of the service; null is all of the project")
    plan: FaultPlanForm = Field(description="What its requests meet; without faults: nothing")


class ServiceCountDocument(AnswerDocument):
    """What a service has met since its project came up, or its plan was set."""

    requests: int
    made: dict[str, int] = Field(description="How many faults, by kind")


class PlannedFaultsDocument(AnswerDocument):
    """A plan that holds."""

    project: str
    service: str | None = Field(description="null: all services without a plan of their own")
    origin: str = Field(description="`compose file` or `dmrc faults`")
    line: str = Field(description="All of it in one line")
    plan: str = Field(description="In words")
    seed: int
    faults: list[dict[str, str | int | float]]
    counts: dict[str, ServiceCountDocument] = Field(description="By service")


class FaultRoutes:
    """The handlers."""

    def __init__(self, faults: MadeFaults) -> None:
        """Change these."""
        self._faults = faults

    def add_to(self, router: APIRouter) -> None:
        router.get("/faults", response_model=list[PlannedFaultsDocument])(self.planned)
        router.put("/projects/{name}/faults", response_model=Done)(self.put)
        router.delete("/projects/{name}/faults", response_model=Done)(self.forget)

    async def planned(self) -> list[dict[str, object]]:
        """Return the plans that hold in all projects."""
        return [dict(one.to_json()) for one in self._faults.planned()]

    async def put(self, name: str, body: FaultsBody) -> dict[str, object]:
        """Have a plan hold until the project ends."""
        self._faults.put(name, body.service, body.plan)
        return {}

    async def forget(self, name: str, service: str | None = None) -> dict[str, object]:
        """Have the plan of the compose file hold again."""
        self._faults.forget(name, service)
        return {}
