"""The web page as a plugin: this table is its list of contents."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse, RedirectResponse, Response
from starlette.datastructures import MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from dmrc import hookimpl
from dmrc.errors import DmrcError
from dmrc.gateway.routes.error_documents import PageError
from dmrc.gateway.server.typed_routes import include, route_class, typed_router
from dmrc.ui.compare import ComparePages
from dmrc.ui.conversations import ConversationPages
from dmrc.ui.model_search import ModelSearch
from dmrc.ui.models import ModelPages
from dmrc.ui.overview import OverviewPages
from dmrc.ui.playground import PlaygroundPages
from dmrc.ui.projects import ProjectPages
from dmrc.ui.rendering import page
from dmrc.ui.request import RequestPage
from dmrc.ui.requests import RequestPages
from dmrc.ui.selection import SelectionRoutes
from dmrc.ui.static_files import PageFiles

if TYPE_CHECKING:
    from dmrc.gateway.plugins.context import DaemonParts

_SAFE_HEADERS = {
    "content-security-policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; "
    "connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'",
    "referrer-policy": "no-referrer",
    "cross-origin-opener-policy": "same-origin",
}
_COOKIE_SECONDS = 7 * 86400
_HOME = "/ui/overview"


@hookimpl
def dmrc_register_routes(app: FastAPI) -> None:
    """Add the pages. Who may see them was checked before they are asked."""
    parts: DaemonParts = app.state.parts
    router = typed_router(route_class(), "web page", PageError)
    for path in ("/ui", "/ui/"):
        router.get(path, include_in_schema=False)(_home)
    router.get("/ui/login", status_code=303, response_class=Response)(_Login(parts).login)
    OverviewPages(parts).add_to(router)
    SelectionRoutes(parts).add_to(router)
    RequestPages(parts).add_to(router)
    RequestPage(parts).add_to(router)
    ConversationPages(parts).add_to(router)
    ComparePages(parts).add_to(router)
    ModelSearch(parts).add_to(router)
    ModelPages(parts).add_to(router)
    ProjectPages(parts).add_to(router)
    PlaygroundPages(parts).add_to(router)
    include(app, router)
    app.mount("/ui/static", PageFiles())
    app.add_exception_handler(DmrcError, _on_error)
    app.add_middleware(_SafeHeaders)


async def _home() -> Response:
    return RedirectResponse(_HOME, 303)


class _Login:
    """Takes the one-time token of `dmrc ui`, and gives the browser its cookie."""

    def __init__(self, parts: DaemonParts) -> None:
        self._pages = parts.page_sessions

    async def login(self, token: str = "") -> Response:
        """Take the token, and lead to the page."""
        session = self._pages.open(token)
        # The token is not in the address of the page that follows.
        response = RedirectResponse(_HOME, 303)
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
                    headers.setdefault(name, value)  # a picture has a stricter policy
                # What belongs to the page itself may be kept, and is asked for by its ETag.
                is_own = scope["path"].startswith("/ui/static/")
                headers.setdefault("cache-control", "no-cache" if is_own else "no-store")
            await send(message)

        await self._app(scope, receive, with_headers)
