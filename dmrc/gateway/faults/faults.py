"""The faults of all projects: who makes them, what was planned for whom, and how many were made."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Literal

from dmrc.errors import NotFoundError
from dmrc.exchange import JsonValue
from dmrc.gateway.faults.answers import ServiceCount
from dmrc.gateway.faults.plugin import FaultPlugin
from dmrc.hooks.plugin import Plugin
from dmrc.hooks.plugins import Plugins
from dmrc.project import FaultPlan
from dmrc.projects import WHOLE_PROJECT, Projects, Registration
from dmrc.suggestions import did_you_mean

_NAME = "faults"


@dataclass(frozen=True, slots=True, kw_only=True)
class PlannedFaults:
    """The plan that holds for a service."""

    project: str
    """Whose service."""
    service: str | None
    """Its name; None: all of the project's that have no plan of their own."""
    plan: FaultPlan
    """What holds."""
    origin: Literal["compose file", "dmrc faults"]
    """Who says so."""
    counts: Mapping[str, ServiceCount]
    """What was made so far, by service."""

    def __str__(self) -> str:
        """Return it in one line, so that nobody takes a fault that was made for another one."""
        who = f"{self.project}/{self.service or '*'}"
        return f"faults are made on purpose for {who} ({self.origin}): {self.plan}"

    def to_json(self) -> dict[str, JsonValue]:
        """Return it as JSON; `plan` in words as well."""
        faults: list[JsonValue] = [
            {"kind": one.kind, **({"share": one.share} if one.first is None else {"first": one.first}), **one.setting}
            for one in self.plan.faults
        ]
        counts: dict[str, JsonValue] = {name: asdict(count) for name, count in self.counts.items()}
        words: dict[str, JsonValue] = {
            "line": str(self),
            "plan": str(self.plan),
            "seed": self.plan.seed,
            "faults": faults,
        }
        return {"project": self.project, "service": self.service, "origin": self.origin, **words, "counts": counts}


class MadeFaults:
    """Has a plugin for each project that has a plan. For one event loop."""

    def __init__(self, plugins: Plugins, projects: Projects) -> None:
        """Make none yet."""
        self._plugins = plugins
        self._projects = projects
        self._made: dict[str, tuple[FaultPlugin, Plugin]] = {}

    def project_up(self, name: str) -> None:
        """Begin anew with a project that was registered: its next request is its first."""
        self.project_down(name)
        self._look(name)

    def project_down(self, name: str) -> None:
        """Make no faults for a project any more."""
        if (found := self._made.pop(name, None)) is not None:
            self._plugins.remove(found[1])

    def put(self, name: str, service: str | None, plan: FaultPlan) -> None:
        """Have a plan hold for a service, or with None for all, until the project ends; a plan of nothing is none.

        Raises:
            NotFoundError: The project is not up, or has no such service.
            StoreError: It cannot be written; nothing has changed then.
        """
        known = self._projects.get(name)
        _check(known, service)
        key = service or WHOLE_PROJECT
        others = {} if service is None else dict(known.faults_set)
        self._change(replace(known, faults_set={**others, key: plan}), service)

    def forget(self, name: str, service: str | None) -> None:
        """Have the compose file's plan hold again for a service, or with None for all.

        Raises:
            NotFoundError: The project is not up, or has no such service.
            StoreError: It cannot be written; nothing has changed then.
        """
        known = self._projects.get(name)
        _check(known, service)
        left = {} if service is None else {key: plan for key, plan in known.faults_set.items() if key != service}
        self._change(replace(known, faults_set=left), service)

    def planned(self, project: str | None = None) -> list[PlannedFaults]:
        """Return the plans that hold, of one project or of all, in their order."""
        return [
            planned
            for known in self._projects.all()
            if project in (None, known.name)
            for planned in self._of(known)
            if planned.plan.faults
        ]

    def _of(self, known: Registration) -> list[PlannedFaults]:
        everybodys = known.faults_set.get(WHOLE_PROJECT)
        file = {} if everybodys is not None else known.faults
        counts = self._made[known.name][0].counts if known.name in self._made else {}
        plans = {**file, **known.faults_set}
        return [
            PlannedFaults(
                project=known.name,
                service=None if service == WHOLE_PROJECT else service,
                plan=plan,
                origin="dmrc faults" if service in known.faults_set else "compose file",
                counts={
                    name: count
                    for name, count in counts.items()
                    if name == service or (service == WHOLE_PROJECT and name not in plans)
                },
            )
            for service, plan in plans.items()
        ]

    def _change(self, registration: Registration, service: str | None) -> None:
        self._projects.register(registration)
        if (found := self._made.get(registration.name)) is not None:
            counts = found[0].counts
            for name in [service] if service else [*counts]:
                counts.pop(name, None)
        self._look(registration.name)

    def _look(self, name: str) -> None:
        """Have a plugin where there is a plan, and none where there is none."""
        if not self.planned(name):
            self.project_down(name)
        elif name not in self._made:
            plugin = FaultPlugin(lambda service: self._plan(name, service))
            self._made[name] = plugin, self._plugins.add(_NAME, plugin, name)

    def _plan(self, name: str, service: str | None) -> FaultPlan | None:
        known = self._projects.find(name)
        return known.fault_plan(service) if known is not None else None


def _check(known: Registration, service: str | None) -> None:
    """Refuse a service that a project does not have."""
    services = [name for name in (*known.services, *known.without_models) if name != WHOLE_PROJECT]
    if service is not None and service not in services:
        raise NotFoundError(
            f"project '{known.name}' has no service '{service}'{did_you_mean(service, services)}",
            remedy=f"Its services: {', '.join(services) or 'none'}",
        )
