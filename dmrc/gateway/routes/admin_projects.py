"""The routes of the admin API behind `dmrc up`, `down`, `exec` and `env`: which projects are up."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Body

from dmrc.errors import DaemonError, InputError, PortTakenError
from dmrc.fields import JsonObject, JsonValue
from dmrc.gateway.projects.claims import Claims
from dmrc.gateway.projects.membership import Membership
from dmrc.gateway.replays.users import RunUser
from dmrc.gateway.routes.admin_documents import (
    Attach,
    Attached,
    Done,
    Known,
    ProjectDocument,
    Registered,
    RegistrationForm,
    ReplayReport,
)
from dmrc.gateway.server.bindings import Bindings
from dmrc.gateway.serving.upstream_keys import UpstreamKeys
from dmrc.hooks.plugins import NOBODY
from dmrc.projects import Projects, Registration


class ProjectRoutes:
    """The handlers."""

    def __init__(
        self, bindings: Bindings, projects: Projects, members: Membership, upstream_keys: UpstreamKeys
    ) -> None:
        """Change what these know of projects."""
        self._bindings = bindings
        self._projects = projects
        self._members = members
        self._upstream_keys = upstream_keys
        self._claims = Claims()

    def add_to(self, router: APIRouter) -> None:
        router.post("/attach", response_model=Attached)(self.attach)
        router.get("/projects", response_model=list[ProjectDocument])(self.projects)
        router.put("/projects/{name}", response_model=Registered)(self.register)
        router.put("/projects/{name}/secrets", response_model=Done)(self.remember_secrets)
        router.delete("/projects/{name}", response_model=Known)(self.unregister)
        router.post("/projects/{name}/settle", response_model=Done)(self.settle)
        router.put("/projects/{name}/upstream-keys", response_model=Done)(self.upstream_keys)
        router.post("/projects/{name}/join", response_model=Done)(self.join)
        router.get("/projects/{name}/replay", response_model=ReplayReport)(self.replay)
        router.get("/replay", response_model=ReplayReport)(self.nobodys_replay)
        router.delete("/projects/{name}/services/{service}", response_model=Known)(self.leave)
        router.post("/projects/{name}/services/{service}/rest", response_model=Done)(self.rest)

    async def attach(self, body: Attach) -> dict[str, str | None]:
        """Listen where containers of a Docker engine reach this machine."""
        bindings, refusal = self._bindings, None
        address = await bindings.attach(body.docker_host)
        if body.plain_port:
            try:
                await bindings.attach_plainly(body.docker_host)
            except (DaemonError, PortTakenError) as error:
                refusal = error.message
        return {"address": address, "no_plain_port": refusal}

    async def projects(self) -> list[dict[str, JsonValue]]:
        """Return the projects that are up."""
        return [
            {
                "name": known.name,
                "directory": known.directory,
                "docker_host": known.docker_host,
                "replay": known.replay.to_json() if known.replay is not None and self._holds(known) else None,
            }
            for known in self._projects.all()
        ]

    def _holds(self, known: Registration) -> bool:
        return known.binds or self._members.replays.is_used(known.name)

    async def register(
        self,
        name: str,
        body: RegistrationForm,
        claim: str | None = None,
        process: int | None = None,
        service: str | None = None,
    ) -> dict[str, object]:
        """Take a project in; `claim` is to be settled, or let go where the command fails.

        `process` waits for the end of a run with cassettes, and runs the program of `service`, if that is given.
        """
        _check_name(name, body)
        if claim is not None:
            self._claims.claim(name, claim, is_new=self._projects.find(name) is None)
        plugins, joined = await self._members.register(body, RunUser.of(process, service))
        return {"plugins": [plugin.to_json() for plugin in plugins], "run": joined.to_json() if joined else None}

    async def settle(self, name: str) -> dict[str, object]:
        """Hear from a command that its project is ready."""
        self._claims.settle(name)
        return {}

    async def join(self, name: str, body: RegistrationForm) -> dict[str, object]:
        """Add services to a project, which need not be known yet."""
        _check_name(name, body)
        self._claims.settle(name)
        await self._members.join(body)
        return {}

    async def leave(self, name: str, service: str) -> dict[str, bool]:
        """Forget one service of a project, and the project with its last one."""
        return {"known": await self._members.leave(name, service)}

    async def rest(self, name: str, service: str) -> dict[str, object]:
        """Let go of the runners that only one service uses; its key stays."""
        await self._members.rest(name, service)
        return {}

    async def remember_secrets(self, name: str, body: Annotated[list[str], Body()]) -> dict[str, object]:
        """Keep these texts of a project out of the record."""
        self._members.remember_secrets(name, body)
        return {}

    async def unregister(self, name: str, claim: str | None = None) -> dict[str, bool]:
        """End a project; with `claim` only where no other command prepares it or has made it ready."""
        if claim is not None and not self._claims.abandon(name, claim):
            return {"known": True}
        self._claims.settle(name)
        return {"known": await self._members.unregister(name)}

    async def replay(self, name: str) -> JsonObject:
        """Return what became of the recording or replay of a project, of the last one where it has ended."""
        return await self._members.replays.report(name)

    async def nobodys_replay(self) -> JsonObject:
        """Return the same of the requests of no project: `dmrc serve --record`, `--replay`."""
        return await self._members.replays.report(NOBODY)

    async def upstream_keys(self, name: str, body: dict[str, str]) -> dict[str, object]:
        """Remember the keys of a project's upstreams, by the names of their variables: in memory, and nowhere else."""
        self._upstream_keys.put(name, body)
        return {}


def _check_name(name: str, registration: Registration) -> None:
    if registration.name != name:
        raise InputError(f"the body is of project '{registration.name}', and the address of '{name}'")
