"""The routes of the admin API for other machines that serve models of this one's projects."""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator, Mapping
from contextlib import closing

from fastapi import APIRouter
from fastapi.responses import Response
from pydantic import Field

from dmrc.engines.engine import Engine
from dmrc.engines.ssh.engine import SshEngine
from dmrc.engines.ssh.host import Host
from dmrc.engines.ssh.hosted_use import HOSTED
from dmrc.errors import DmrcError, InputError
from dmrc.gateway.routes.admin_documents import AdminBody
from dmrc.gateway.routes.documents import AnswerDocument
from dmrc.gateway.server.closing_stream import ClosingStream
from dmrc.project import SSH_ENGINE, parse_host
from dmrc.told_errors import error_document


class HostBody(AdminBody):
    """A host, and what of the command's shell ssh needs."""

    host: str = Field(examples=["ssh://me@box"], description="The machine")
    agent: str | None = Field(default=None, description="Socket of the command's ssh agent")
    remote_command: str = Field(default="dmrc", description="What starts dmrc there, in words of its shell")


class HostPull(HostBody):
    """A model to bring to a host."""

    model: str = Field(description="Its reference")
    engine: str | None = Field(default=None, description="Engine that is to load it; null is any")


class HostDocument(AnswerDocument):
    """A host that was asked for since the daemon runs."""

    host: str
    joined: bool
    version: str | None
    connections: int


class HostRoutes:
    """The handlers."""

    def __init__(self, engines: Mapping[str, Engine]) -> None:
        """Reach hosts by their engine."""
        self._engine = engines.get(SSH_ENGINE)

    def add_to(self, router: APIRouter) -> None:
        router.get("/hosts", response_model=list[HostDocument])(self.hosts)
        router.post("/hosts/join", response_model=HostDocument)(self.join)
        router.post("/hosts/pull", response_class=Response)(self.pull)

    async def hosts(self) -> list[dict[str, object]]:
        """Return the hosts."""
        return [_shown(host) for host in self._reached().hosts]

    async def join(self, body: HostBody) -> dict[str, object]:
        """Connect to a host, where there is no connection yet."""
        host = self._host(body)
        await host.link(at_once=True)
        return _shown(host)

    async def pull(self, body: HostPull) -> Response:
        """Have a host pull a model; its lines of JSON come as it writes them."""
        host = self._host(body)
        await host.link(at_once=True)
        wish = json.dumps({"model": body.model, "engine": body.engine}).encode()
        return ClosingStream(_lines(host, wish), media_type="application/x-ndjson")

    def _host(self, body: HostBody) -> Host:
        host = self._reached().host(parse_host(body.host, "host"))
        host.agent, host.remote_command = body.agent, body.remote_command
        return host

    def _reached(self) -> SshEngine:
        if not isinstance(self._engine, SshEngine):
            raise InputError("there is no engine 'ssh'")
        return self._engine


def _shown(host: Host) -> dict[str, object]:
    return {"host": host.host, "joined": host.is_joined, "version": host.version, "connections": host.connections}


async def _lines(host: Host, wish: bytes) -> AsyncGenerator[bytes]:
    from dmrc.engines.ssh.session import broken

    host.enter()
    try:
        link = await host.link()
        try:
            answer = await link.session.post(f"{HOSTED}/pull", {"content-type": "application/json"}, wish)
            with closing(answer):
                async for chunk in answer:
                    yield chunk
        except ConnectionError as error:
            raise DmrcError(str(await broken(host, link)), remedy="Run the same again; what came is kept") from error
    except DmrcError as error:
        yield json.dumps({"error": error_document(error)}).encode() + b"\n"
    finally:
        host.leave()
