"""The web page as a plugin: this table is its list of contents."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TYPE_CHECKING, cast

from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse, RedirectResponse, Response
from fastapi.staticfiles import StaticFiles
from starlette.datastructures import MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from dmrc import hookimpl
from dmrc.errors import DmrcError
from dmrc.ui.models import ModelPages
from dmrc.ui.projects import ProjectPages
from dmrc.ui.rendering import page
from dmrc.ui.requests import RequestPages

if TYPE_CHECKING:
    from dmrc.gateway.plugins.context import DaemonParts

_SAFE_HEADERS = {
    "content-security-policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; "
    "connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'",
    "referrer-policy": "no-referrer",
    "cross-origin-opener-policy": "same-origin",
}
_COOKIE_SECONDS = 7 * 86400

Handler = Callable[[Request], Awaitable[Response]]


def _routes(parts: DaemonParts) -> list[tuple[str, str, Handler]]:
    requests, models, projects = RequestPages(parts), ModelPages(parts), ProjectPages(parts)
    return [
        ("GET", "/ui", _home),
        ("GET", "/ui/", _home),
        ("GET", "/ui/login", _Login(parts)),
        ("GET", "/ui/events", requests.events),
        ("GET", "/ui/requests", requests.index),
        ("GET", "/ui/requests/rows", requests.rows),
        ("GET", "/ui/requests/totals", requests.totals),
        ("GET", "/ui/requests/{id}", requests.show),
        ("GET", "/ui/requests/{id}/answer", requests.answer),
        ("GET", "/ui/requests/{id}/as/{form}", requests.copy),
        ("GET", "/ui/requests/{id}/{part}", requests.body),
        ("GET", "/ui/models", models.index),
        ("GET", "/ui/models/running", models.running),
        ("GET", "/ui/models/stored", models.stored),
        ("POST", "/ui/models/load", models.load),
        ("POST", "/ui/models/unload", models.unload),
        ("GET", "/ui/models/{name:path}", models.show),
        ("GET", "/ui/logs/{id}", models.log),
        ("GET", "/ui/projects", projects.index),
        ("GET", "/ui/playground", requests.playground),
    ]


@hookimpl
def dmrc_register_routes(app: FastAPI) -> None:
    """Add the pages. Who may see them was checked before they are asked."""
    for method, path, handler in _routes(app.state.parts):
        app.add_api_route(path, handler, methods=[method], response_model=None)
    app.mount("/ui/static", StaticFiles(directory=Path(__file__).parent / "static"))
    app.add_exception_handler(DmrcError, _on_error)
    app.add_middleware(_SafeHeaders)


async def _home(_request: Request) -> Response:
    return RedirectResponse("/ui/requests", 303)


class _Login:
    """Takes the one-time token of `dmrc ui`, and gives the browser its cookie."""

    def __init__(self, parts: DaemonParts) -> None:
        self._pages = parts.page_sessions

    async def __call__(self, request: Request) -> Response:
        session = self._pages.open(request.query_params.get("token", ""))
        # The token is not in the address of the page that follows.
        response = RedirectResponse("/ui/requests", 303)
        response.set_cookie(
            self._pages.cookie, session, max_age=_COOKIE_SECONDS, path="/ui", httponly=True, samesite="strict"
        )
        return response


async def _on_error(request: Request, error: Exception) -> Response:
    """Answer a person with a page, and a script with JSON."""
    known = cast(DmrcError, error)
    if "text/html" in request.headers.get("accept", ""):
        response = page("error.html", here="", status=known.http_status, error=known)
        for name, value in _SAFE_HEADERS.items():
            response.headers[name] = value
        return response
    return JSONResponse({"error": {"message": str(known), "type": known.error_type}}, known.http_status)


class _SafeHeaders:
    """Tells browsers what the page may do: nothing but its own."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in _SAFE_HEADERS.items():
                    headers[name] = value
                headers.setdefault("cache-control", "no-store")
            await send(message)

        await self._app(scope, receive, with_headers)
