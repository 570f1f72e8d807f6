"""What is answered where no route fits: another method, a path that is nearly one, `HEAD` and `OPTIONS`."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterable, Sequence
from typing import cast

from fastapi.exception_handlers import http_exception_handler
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Match
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from dmrc.background import begin, beside
from dmrc.dialects.table import dialect_at
from dmrc.errors import HttpInputError, NotFoundError
from dmrc.gateway.server.error_responses import error_response
from dmrc.suggestions import likeness

_LONGEST_GUESSED = 100
_LEAST_LIKENESS = 0.8
_HOST = re.compile(r"[\w.:\[\]-]+")
_ORDER = ("GET", "HEAD", "POST", "PUT", "DELETE")


class Unrouted:
    """Answers requests that no route takes; `routes` may grow until the first one."""

    def __init__(self, posts: Iterable[str], routes: Sequence[BaseRoute]) -> None:
        """Know the paths that take `POST` past FastAPI, and FastAPI's routes."""
        self._posts = frozenset(posts)
        self._routes = routes

    async def __call__(self, request: Request, error: Exception) -> Response:
        """Say which methods there are (405), or which path may be meant (404); `OPTIONS` is told them with 204."""
        path = request.url.path
        if not (methods := self._methods(request.scope)):
            missing = NotFoundError(f"there is no route {request.method} {path[:200]}", remedy=self._remedy(request))
            return error_response(missing, dialect_at(path))
        if request.method in methods:
            return await http_exception_handler(request, cast(HTTPException, error))  # the route's own words
        allow = {"allow": ", ".join(methods)}
        if request.method == "OPTIONS":
            return Response(status_code=204, headers=allow)
        refused = HttpInputError(
            f"{path[:200]} takes no {request.method}", status=405, remedy=f"Use {' or '.join(methods)}"
        )
        answer = error_response(refused, dialect_at(path))
        answer.headers.update(allow)
        return answer

    def _methods(self, scope: Scope) -> list[str]:
        """Return the methods that a path takes, if it is one."""
        found = {"POST"} if scope["path"] in self._posts else set()
        for route in self._routes:
            if route.matches(scope)[0] is not Match.NONE:
                found |= getattr(route, "methods", None) or set()
        if "GET" in found:
            found.add("HEAD")
        return [method for method in _ORDER if method in found]

    def _remedy(self, request: Request) -> str | None:
        path = request.url.path
        meant = self._meant(path) if len(path) <= _LONGEST_GUESSED else None
        if meant is None:
            return "Use /engines/v1, or the name of an engine: dmrc version" if path.startswith("/engines/") else None
        remedy = f"Did you mean {meant}?"
        if meant.endswith(path):
            base = meant.removesuffix(path)
            host = request.headers.get("host", "")
            # A base URL with a key in its path is not repeated in an error.
            if request.scope.get("dmrc.path_key") or not _HOST.fullmatch(host):
                return f"{remedy} Add {base} to the base URL"
            return f"{remedy} Set the base URL to {request.scope['scheme']}://{host}{base}"
        return f"{remedy} The client adds /v1 itself: take it from the base URL" if "/v1/v1/" in path else remedy

    def _meant(self, path: str) -> str | None:
        """Return the route that a path is nearly: without its beginning, with one too many, or misspelt."""
        paths = [*self._posts, *(each for route in self._routes if "{" not in (each := getattr(route, "path", "{")))]
        for candidate in (path.replace("/v1/v1/", "/v1/"), f"/v1{path}", f"/engines/v1{path}", f"/api{path}"):
            if candidate != path and candidate in paths:
                return candidate
        longer = min((each for each in paths if each.endswith(path)), key=len, default=None)
        shorter = max((each for each in paths if len(each) > 1 and path.endswith(each)), key=len, default=None)
        return longer or shorter or max((each for each in paths if _is_near(path, each)), key=len, default=None)


def _is_near(path: str, route: str) -> bool:
    """Return whether a path is a route with one of its words misspelt."""
    words = [*zip(path.split("/"), route.split("/"), strict=False)]
    differing = [pair for pair in words if pair[0] != pair[1]]
    if path.count("/") != route.count("/") or len(differing) != 1:
        return False
    return likeness(*differing[0]) >= _LEAST_LIKENESS


async def answer_head(app: ASGIApp, scope: Scope, receive: Receive, send: Send) -> None:
    """Answer `HEAD` with what `GET` says before its body; then the route is cancelled, for it may go on for ever."""
    has_started = asyncio.Event()

    async def without_body(message: Message) -> None:
        if message["type"] == "http.response.start":
            await send(message)
            await send({"type": "http.response.body", "body": b"", "more_body": False})
            has_started.set()

    async def get() -> None:
        await app({**scope, "method": "GET"}, receive, without_body)

    getting = begin(get(), "a route", expected=Exception)
    try:
        with beside(has_started.wait(), "the wait for an answer") as starting:
            await asyncio.wait({getting, starting}, return_when=asyncio.FIRST_COMPLETED)
        if getting.done():
            getting.result()
    finally:
        getting.cancel()
        await asyncio.gather(getting, return_exceptions=True)
