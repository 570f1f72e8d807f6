"""Who reaches a plugin's route on which listener; the real one on loopback is in test_plugins.py."""

import asyncio
from pathlib import Path

import pytest
from fastapi import FastAPI
from starlette.types import Message, Receive, Scope, Send

from dmrc.gateway.projects.keys import Keys
from dmrc.gateway.routes.plugins import PluginRoutes
from dmrc.gateway.server.admission import Admission
from dmrc.gateway.server.cors import Origins
from dmrc.hooks.plugins import Plugins
from dmrc.project import Project
from dmrc.projects import Projects, Registration
from tests.hooks.written import write

KEY = "sk-dmrc-good"
ROUTES = """
from fastapi import FastAPI

@hookimpl
def dmrc_register_routes(app):
    inner = FastAPI()
    inner.get("/page")(lambda: "page")
    app.mount("/inner", inner)
    app.get("/private")(lambda: "private")
    app.get("/shared", tags=["bridge"])(lambda: "shared")
"""


@pytest.fixture
def admission(tmp_path: Path) -> Admission:
    document = {"name": "demo", "models": {"llm": {"model": "a"}}, "services": {"app": {"models": ["llm"]}}}
    projects = Projects(tmp_path / "projects.sqlite3")
    projects.register(Registration.of(Project.parse(document, ()), {"app": KEY}, None))
    return Admission(projects, Keys(tmp_path / "projects.sqlite3"), require_key=False, origins=Origins(()))


@pytest.fixture
def routes(admission: Admission, tmp_path: Path) -> PluginRoutes:
    broken = write(tmp_path / "broken.py", "@hookimpl\ndef dmrc_register_routes(app):\n    raise ValueError")
    plugins = Plugins([str(write(tmp_path / "routes.py", ROUTES)), str(broken)])
    plugins.load()
    return PluginRoutes(plugins, admission)


def status(routes: PluginRoutes, listener: str, path: str, *, key: str = "", host: str = "127.0.0.1") -> int:
    """Return the status that a GET gets; 404 is that of the gateway's own application."""
    headers = [(b"host", host.encode()), *([(b"authorization", f"Bearer {key}".encode())] if key else [])]
    scope: Scope = {"type": "http", "method": "GET", "path": path, "root_path": "", "query_string": b""}
    scope |= {"headers": headers, "server": ("127.0.0.1", 1), "client": None, "dmrc.listener": listener}
    sent: list[Message] = []

    async def receive() -> Message:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message: Message) -> None:
        sent.append(message)

    async def answer(receive: Receive, send: Send) -> None:
        await routes.beside(FastAPI(openapi_url=None), scope)(scope, receive, send)

    asyncio.run(answer(receive, send))
    return int(sent[0]["status"])


@pytest.mark.parametrize("path", ["/private", "/shared", "/inner/page"])
def test_on_loopback_every_route_answers_behind_the_gateways_checks(routes: PluginRoutes, path: str) -> None:
    assert status(routes, "loopback", path) == 200
    assert status(routes, "loopback", path, host="evil.example") == 403
    assert status(routes, "loopback", path, key="sk-dmrc-unknown") == 401


@pytest.mark.parametrize("path", ["/private", "/inner/page"])
def test_on_the_bridge_a_route_is_not_there(routes: PluginRoutes, path: str) -> None:
    assert status(routes, "bridge", path, key=KEY) == 404


def test_on_the_bridge_a_route_that_is_meant_for_it_needs_a_key(routes: PluginRoutes) -> None:
    assert status(routes, "bridge", "/shared") == 401
    assert status(routes, "bridge", "/shared", key=KEY) == 200


@pytest.mark.parametrize("key", ["", KEY])
def test_on_the_bridge_there_are_no_metrics(admission: Admission, key: str) -> None:
    """They tell of every project; the key of a service opens what is that service's."""
    plugins = Plugins([])
    plugins.load("dmrc_register_routes")
    assert "dmrc.gateway.plugins.metrics" in {
        each.plugin.name for each in plugins.implementations("dmrc_register_routes")
    }

    assert status(PluginRoutes(plugins, admission), "bridge", "/metrics", key=key) == 404
