"""The gateway's HTTP application: FastAPI for routes, plain ASGI for inference."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from typing import cast
from urllib.parse import quote

from fastapi import FastAPI, Request
from fastapi.responses import PlainTextResponse, Response
from starlette.routing import BaseRoute
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from dmrc import __version__
from dmrc.dialects.dialect import Dialect
from dmrc.dialects.responses.routes import PATHS
from dmrc.dialects.table import DIALECTS, OPENAI, RESPONSES, dialect_at
from dmrc.errors import DmrcError
from dmrc.exchange import new_exchange_id
from dmrc.gateway.inference.inference import Inference, Steps
from dmrc.gateway.plugins.context import DaemonParts
from dmrc.gateway.routes.anthropic_models import AnthropicModels
from dmrc.gateway.routes.description import Description, admit_on_loopback
from dmrc.gateway.routes.dmr_configure import add_configure_routes
from dmrc.gateway.routes.error_documents import ERRORS
from dmrc.gateway.routes.openai_models import OpenAIModels
from dmrc.gateway.routes.plugins import PluginRoutes
from dmrc.gateway.routes.responses import ResponseRoutes
from dmrc.gateway.server.admission import Admission, ListenerKind
from dmrc.gateway.server.bugs import contain_bugs
from dmrc.gateway.server.callers_by_address import CallersByAddress
from dmrc.gateway.server.content_encodings import with_decoded_body
from dmrc.gateway.server.cors import answer_preflight, foreign_origin, is_preflight, readable_by
from dmrc.gateway.server.credentials import split_capability
from dmrc.gateway.server.error_responses import error_response
from dmrc.gateway.server.page_sessions import API, PageSessions
from dmrc.gateway.server.request_fields import fields_of, first
from dmrc.gateway.server.unrouted import Unrouted, answer_head
from dmrc.gateway.serving.catalog import Catalog
from dmrc.gateway.serving.configure import Configurator

PREFIXES = ("/engines/v1", "/v1")
"""Where the OpenAI routes are found, beside `/engines/{engine}/v1`. Source: Docker Model Runner's routes."""

_ABOUT = (
    "What manages models and engines, and the web page. Inference is not in it: its routes are as OpenAI, Anthropic and"
    " Ollama describe them."
)

_SLASHES = re.compile(r"/{2,}")


class Gateway:
    """The application that all TCP listeners share."""

    def __init__(self, steps: Steps, configurator: Configurator, engines: Iterable[str], parts: DaemonParts) -> None:
        """Know the routes: inference past FastAPI, whose layers would see every chunk of a stream; the rest by it."""
        prefixes = {**dict.fromkeys(PREFIXES), **{f"/engines/{name}/v1": name for name in engines}}
        self.origins = steps.admission.origins
        """Whose pages may call."""
        routes = [route for dialect in DIALECTS for route in dialect.routes().items()]
        self._inference: dict[str, ASGIApp] = {
            path: Inference(route, steps, engine)
            for written, route in routes
            for path, engine in _paths(written, prefixes)
        }
        self._others = _create_app(steps.admission, steps.catalog, prefixes)
        responses = [path for written in PATHS for path, _ in _paths(written, prefixes)]
        self.add(ResponseRoutes(steps.admission, RESPONSES, responses).add_to)
        self.add(AnthropicModels(steps.admission, steps.catalog).add_to)
        add_configure_routes(self._others, steps.admission, configurator)
        self._contained = contain_bugs(self._others)
        unrouted = Unrouted(self._inference, self._others.routes)
        for status in (404, 405):
            self._others.add_exception_handler(status, unrouted)
        self._of_plugins = PluginRoutes(steps.plugins, steps.admission, parts)
        self.add(Description("dmrc", _ABOUT, self._described, ERRORS, admit_on_loopback(steps.admission)).add_to)

    def add(self, routes: Callable[[FastAPI], None]) -> None:
        """Let `routes` add routes that are not inference."""
        routes(self._others)

    def _described(self) -> list[BaseRoute]:
        """Return the routes that are not inference, the page's among them."""
        return [*self._others.routes, *self._of_plugins.built_in]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request. A route of our own wins over a plugin's."""
        if scope["type"] != "http":
            return None
        if scope["method"] == "POST" and (inference := self._inference.get(scope["path"])) is not None:
            return await inference(scope, receive, send)
        send = _with_id(send, dialect_at(scope["path"]))
        found = self._of_plugins.beside(self._others, scope)
        app = self._contained if found is self._others else found
        if scope["method"] == "HEAD":
            return await answer_head(app, scope, receive, send)
        return await app(scope, receive, send)


class ListenerApp:
    """What every request passes first: it is marked with how it came in, its path is fixed, browsers are answered."""

    def __init__(
        self, gateway: Gateway, listener: ListenerKind, page_sessions: PageSessions, addresses: CallersByAddress
    ) -> None:
        """Call `gateway`; `page_sessions` knows browsers, and `addresses` containers that have no key."""
        self._gateway = gateway
        self._listener = listener
        self._origins = gateway.origins
        self._page_sessions = page_sessions
        self._callers = addresses

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass one connection on."""
        if scope["type"] == "http":
            # Applications join a base URL that ends in a slash with a path that begins with one.
            path_key, path = split_capability(_SLASHES.sub("/", scope["path"]))
            path = path.rstrip("/") or "/"
            # From here on the key is in no path, so none is recorded or logged.
            scope = {**scope, "dmrc.listener": self._listener, "dmrc.path_key": path_key, "path": path}
            if path_key is not None:
                scope["raw_path"] = quote(path).encode()
            scope, receive = with_decoded_body(scope, receive)
            if self._listener == "bridge":
                await self._callers.mark(scope)
            if path.startswith(f"{API}/") and self._listener == "loopback":
                try:
                    self._page_sessions.admit(scope)
                except DmrcError as error:
                    return await error_response(error)(scope, receive, _with_id(send, OPENAI))
                scope = {**scope, "dmrc.page": True, "path": path.removeprefix(API)}
            origin = first(fields_of(scope), "origin")
            if origin is not None and self._origins.allow(origin):
                if is_preflight(scope):
                    return await answer_preflight(scope, send)
                send = readable_by(origin, send)
            elif origin is not None and scope["method"] == "OPTIONS":
                return await error_response(foreign_origin(origin))(scope, receive, _with_id(send, OPENAI))
        return await self._gateway(scope, receive, send)


def _paths(written: str, prefixes: Mapping[str, str | None]) -> list[tuple[str, str | None]]:
    """Return where a route is found, each with the engine that it is for; see `Dialect.routes`."""
    if not written.startswith("{"):
        return [(written, None)]
    found = {written.format(v1=prefix, root=prefix.removesuffix("/v1")): engine for prefix, engine in prefixes.items()}
    return list(found.items())


def _create_app(admission: Admission, catalog: Catalog, prefixes: Iterable[str]) -> FastAPI:
    """Return the routes that are not inference."""
    app = FastAPI(
        title="dmrc", version=__version__, docs_url=None, redoc_url=None, openapi_url=None, redirect_slashes=False
    )

    OpenAIModels(admission, catalog, prefixes).add_to(app)
    # Docker Model Runner answers each of these methods at the root.
    app.add_api_route("/", _root, methods=["GET", "POST", "OPTIONS"], include_in_schema=False)
    app.add_exception_handler(DmrcError, _on_error)
    return app


def _root() -> PlainTextResponse:
    # Ollama's clients ask `HEAD /` whether a server is there, and read no words here.
    return PlainTextResponse("dmrc is running\n")


async def _on_error(request: Request, error: Exception) -> Response:
    return error_response(cast(DmrcError, error), dialect_at(request.url.path))


def _with_id(send: Send, dialect: Dialect) -> Send:
    """Return a `send` whose answer has an id in its headers, as each exchange has its own."""

    async def with_id(message: Message) -> None:
        if message["type"] == "http.response.start":
            id = new_exchange_id().encode()
            names = [name.encode() for name in dialect.id_headers]
            message = {**message, "headers": [*message["headers"], *((name, id) for name in names)]}
        await send(message)

    return with_id
