"""`/openapi.json` of a daemon: it holds together, has every route that is not inference, and stays on loopback."""

from __future__ import annotations

import asyncio
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from fastapi import FastAPI
from starlette.types import Message, Scope

from dmrc.dialects.table import dialect_at
from dmrc.errors import AuthenticationError, DmrcError, PermissionDeniedError
from dmrc.gateway.projects.keys import Keys
from dmrc.gateway.routes.description import Description, admit_on_loopback
from dmrc.gateway.routes.error_documents import ERRORS
from dmrc.gateway.server.admission import Admission
from dmrc.gateway.server.app import _on_error
from dmrc.gateway.server.cors import Origins
from dmrc.project import Project
from dmrc.projects import Projects, Registration
from tests.dmrc_command import Dmrc, temporary_dmrc
from tests.gateway.openapi import check, operations

KEY = "sk-dmrc-good"
MODELS = """
GET /models                            -
GET /models/{name}                     -
GET /models/{name}/export              -
POST /models/load                      -
POST /models/create                    Create
POST /models/{name}/tag                -
POST /models/{name}/repackage          Repackage
POST /models/{name}/push               -
DELETE /models/purge                   -
DELETE /models/{name}                  -
"""
ENGINES = """
GET /version                           -
GET /logs                              -
GET /engines/status                    -
GET /engines/ps                        -
GET /engines/df                        -
GET /engines/requests                  -
POST /engines/unload                   DmrUnload
POST /engines/install-backend          Backend
POST /engines/uninstall-backend        Backend
POST /engines/_configure               DmrConfigure
GET /engines/_configure                -
POST /engines/{engine}/_configure      DmrConfigure
GET /engines/{engine}/_configure       -
"""
OTHERS = """
GET /api/version                       -
GET /api/tags                          -
GET /api/ps                            -
POST /api/show                         OllamaModelName
POST /api/pull                         Pull
POST /api/copy                         Copy
DELETE /api/delete                     OllamaModelName
GET /anthropic/v1/models               -
GET /anthropic/v1/models/{name}        -
GET /v1/models                         -
GET /v1/models/{name}                  -
GET /engines/v1/models                 -
GET /engines/{engine}/v1/models        -
GET /v1/responses/{id}                 -
DELETE /v1/responses/{id}              -
GET /v1/responses/{id}/input_items     -
"""
PAGES = """
GET /ui/login                          -
GET /ui/health                         -
GET /ui/overview                       -
GET /ui/overview/now                   -
GET /ui/overview/hour                  -
GET /ui/overview/checks                -
GET /ui/overview/advice                -
POST /ui/requests/export               SelectedRequests
POST /ui/requests/delete               SelectedRequests
GET /ui/events                         -
GET /ui/requests                       -
GET /ui/requests/rows                  -
GET /ui/requests/totals                -
GET /ui/requests/facets                -
POST /ui/requests/{id}/cancel          -
GET /ui/requests/{id}                  -
GET /ui/requests/{id}/panel            -
GET /ui/requests/{id}/answer           -
GET /ui/requests/{id}/media/{hash}     -
GET /ui/requests/{id}/as/{form}        -
GET /ui/requests/{id}/{part}           -
POST /ui/requests/{id}/delete          PageBody
GET /ui/conversations                  -
GET /ui/conversations/rows             -
GET /ui/conversations/{id}             -
GET /ui/conversations/{id}/turns       -
GET /ui/compare                        -
POST /ui/compare                       ComparisonBody
GET /ui/compare/pair                   -
GET /ui/compare/{id}                   -
GET /ui/compare/{id}/progress          -
GET /ui/compare/{id}/matrix            -
POST /ui/compare/{id}/cancel           -
GET /ui/models/search                  -
GET /ui/models/variants                -
GET /ui/models                         -
GET /ui/models/now                     -
GET /ui/models/stored                  -
POST /ui/models/load                   LoadModel
POST /ui/models/unload                 EndRunner
POST /ui/models/pull                   PullModel
POST /ui/models/pull/cancel            CancelPull
GET /ui/models/{name}                  -
GET /ui/logs/{id}                      -
GET /ui/logs/{id}/part                 -
GET /ui/projects                       -
GET /ui/projects/cache                 -
GET /ui/projects/{name}/figures        -
GET /ui/projects/{name}/containers     -
GET /ui/playground                     -
GET /ui/playground/models              -
GET /ui/playground/from/{id}           -
POST /ui/playground/as/{form}          PlaygroundRequest
"""
ROUTES = {
    (line[0], line[1]): line[2] for line in map(str.split, (MODELS + ENGINES + OTHERS + PAGES).split("\n")) if line
}


@pytest.fixture(scope="module")
def daemon(needs_process: None) -> Iterator[Dmrc]:
    with (
        temporary_dmrc() as dmrc,
        subprocess.Popen([dmrc.program, "serve"], env=dmrc.environment, stderr=subprocess.PIPE, text=True) as process,
    ):
        assert process.stderr is not None
        while "dmrc serves" not in (line := process.stderr.readline()):
            assert line, "the daemon ended"
        yield dmrc
        process.terminate()
        assert "Traceback" not in process.communicate(timeout=30)[1]


def ask(dmrc: Dmrc, method: str, path: str, body: str | None = None, **headers: str) -> httpx.Response:
    return httpx.request(method, f"http://127.0.0.1:{dmrc.port}{path}", content=body, headers=headers, timeout=60)


@pytest.fixture(scope="module")
def document(daemon: Dmrc) -> Any:
    answer = ask(daemon, "GET", "/openapi.json")
    assert (answer.status_code, answer.headers["content-type"]) == (200, "application/json")
    return answer.json()


def test_the_document_holds_together(document: Any) -> None:
    check(document)


@pytest.mark.parametrize("route", ROUTES, ids=" ".join)
def test_every_route_is_in_it_with_its_models(document: Any, route: tuple[str, str]) -> None:
    method, path = route
    operation = document["paths"][path][method.lower()]
    content = operation.get("requestBody", {}).get("content", {})

    body = content.get("application/json", {}).get("schema", {}).get("$ref", "").rpartition("/")[2]
    assert (body or "-") == ROUTES[route]
    assert operation["description"]
    assert operation["responses"]["4XX"]["content"]["application/json"]["schema"]["$ref"].endswith("Error")
    assert "422" not in operation["responses"], "FastAPI's own form of an error, which no route answers with"


def test_every_route_of_the_page_is_in_the_table(document: Any) -> None:
    """A new one is added to it: so nobody forgets that it is in the document, with its body."""
    pages = {(method.upper(), path) for method, path, _ in operations(document) if path.startswith("/ui/")}

    assert pages - ROUTES.keys() == set()


def test_an_idle_daemon_is_small_when_it_has_written_it(daemon: Dmrc, document: Any) -> None:
    """100 MB is what the design allows an idle daemon; the models of the routes take some of it."""
    process = daemon.daemon()

    assert process.memory_info().rss <= 100e6
    assert document


def test_inference_is_not_in_it(document: Any) -> None:
    assert "Inference is not in it" in document["info"]["description"]
    paths = {path for _, path, _ in operations(document)}

    assert not paths & {"/v1/chat/completions", "/v1/embeddings", "/api/chat", "/anthropic/v1/messages"}
    assert not any("ValidationError" in name for name in document["components"]["schemas"])


@pytest.mark.parametrize(
    "route", [route for route, body in ROUTES.items() if body != "-" and "/ui/" not in route[1]], ids=" ".join
)
@pytest.mark.parametrize("body", ["", "{", "[]", "{}", "7"])
def test_a_bad_body_is_told_in_the_words_of_its_api(daemon: Dmrc, route: tuple[str, str], body: str) -> None:
    method, path = route[0], route[1].replace("{engine}", "llama.cpp").replace("{name}", "ai/none")
    if (path, body) == ("/engines/unload", "{}"):
        return  # nothing is named, and nothing ends

    answer = ask(daemon, method, path, body)

    # Ollama's server has 400; Docker Model Runner's client takes 422 of a pull for something else.
    assert answer.status_code == (400 if path.startswith("/api/") or path == "/models/create" else 422), answer.text
    told = answer.json()
    message = told["error"] if path.startswith("/api/") else told["error"]["message"]
    assert told.keys() == dialect_at(path).error(DmrcError("x")).keys()
    assert "the request body " in message or "is missing from the body. Send {" in message


def test_pages_of_others_do_not_get_it(daemon: Dmrc) -> None:
    assert ask(daemon, "GET", "/openapi.json", origin="https://evil.example.com").status_code == 403
    assert ask(daemon, "GET", "/openapi.json", host="evil.example.com").status_code == 403
    assert ask(daemon, "GET", "/openapi.json", **{"sec-fetch-site": "cross-site"}).status_code == 403
    assert ask(daemon, "GET", "/openapi.json", authorization="Bearer sk-dmrc-unknown").status_code == 401


def test_containers_do_not_get_it(tmp_path: Path) -> None:
    document = {"name": "demo", "models": {"llm": {"model": "a"}}, "services": {"app": {"models": ["llm"]}}}
    projects = Projects(tmp_path / "projects.sqlite3")
    projects.register(Registration.of(Project.parse(document, ()), {"app": KEY}, None))
    admission = Admission(projects, Keys(tmp_path / "projects.sqlite3"), require_key=False, origins=Origins(()))
    app = FastAPI(openapi_url=None)
    Description("dmrc", "", lambda: app.routes, ERRORS, admit_on_loopback(admission)).add_to(app)
    app.add_exception_handler(DmrcError, _on_error)

    def status(listener: str, key: str = "") -> int:
        headers = [(b"host", b"127.0.0.1"), *([(b"authorization", f"Bearer {key}".encode())] if key else [])]
        scope: Scope = {"type": "http", "method": "GET", "path": "/openapi.json", "root_path": "", "query_string": b""}
        scope |= {"headers": headers, "server": ("127.0.0.1", 1), "client": None, "dmrc.listener": listener}
        sent: list[Message] = []

        async def receive() -> Message:
            return {"type": "http.request"}

        async def send(message: Message) -> None:
            sent.append(message)

        asyncio.run(app(scope, receive, send))
        return int(sent[0]["status"])

    assert status("loopback") == 200
    assert status("loopback", KEY) == PermissionDeniedError.http_status
    assert status("bridge", KEY) == PermissionDeniedError.http_status
    assert status("bridge") == AuthenticationError.http_status
