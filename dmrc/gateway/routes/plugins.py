"""Routes of plugins: each plugin's on an application of its own, behind the gateway's own checks."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import cast

from fastapi import FastAPI, Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Match
from starlette.types import ASGIApp, Receive, Scope, Send

from dmrc.errors import DmrcError, PluginError
from dmrc.gateway.plugins.context import DaemonParts
from dmrc.gateway.server.admission import Admission
from dmrc.gateway.server.error_responses import error_response
from dmrc.gateway.server.unrouted import Unrouted
from dmrc.hooks.in_time import attempted
from dmrc.hooks.plugin import Plugin
from dmrc.hooks.plugins import BUILT_IN, Plugins

_HOOK = "dmrc_register_routes"
_BRIDGE_TAG = "bridge"
"""Of a route that is for the keys of services, wherever they come in."""
_PAGE = "dmrc.ui.routes"
_Explain = Callable[[Request, Exception], Awaitable[Response]]


class PluginRoutes:
    """The applications of the plugins that implement `dmrc_register_routes`."""

    def __init__(self, plugins: Plugins, admission: Admission, parts: DaemonParts | None = None) -> None:
        """Ask each plugin for its routes, once; those of dmrc's own may look at `parts`."""
        self._apps: list[_PluginApp] = []
        self.built_in: list[BaseRoute] = []
        """The routes of dmrc's own plugins."""
        for implementation in plugins.implementations(_HOOK):
            app = FastAPI(title=implementation.plugin.name, docs_url=None, redoc_url=None, openapi_url=None)
            if implementation.plugin.name in BUILT_IN:
                app.state.parts = parts
            try:
                attempted(implementation, {"app": app})
            except PluginError:
                continue  # counted and logged
            if implementation.plugin.name in BUILT_IN:
                self.built_in += app.routes
            admit = parts.page_sessions.admit if parts and implementation.plugin.name == _PAGE else admission.admit
            self._apps.append(_PluginApp(implementation.plugin, app, admit))

    def beside(self, own: FastAPI, scope: Scope) -> ASGIApp:
        """Return the application for a request: `own`, unless only a plugin has a route for it."""
        if not self._apps or any(route.matches(scope)[0] is not Match.NONE for route in own.routes):
            return own
        return next((app for app in self._apps if app.has(scope)), own)


class _PluginApp:
    """The ASGI application of one plugin's routes."""

    def __init__(self, plugin: Plugin, app: FastAPI, admit: Callable[[Scope], object]) -> None:
        self._plugin = plugin
        self._app = app
        self._admit = admit
        app.exception_handlers.setdefault(DmrcError, _on_error)
        app.add_exception_handler(Exception, _on_bug)
        for status in (404, 405):
            app.exception_handlers.setdefault(status, Unrouted((), app.routes))

    def has(self, scope: Scope) -> bool:
        """Return whether there is a route for a request where it came in; the path alone is enough on loopback."""
        matching = [route for route in self._app.routes if route.matches(scope)[0] is not Match.NONE]
        return any(scope["dmrc.listener"] == "loopback" or _is_for_bridge(route) for route in matching)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            self._admit(scope)
        except DmrcError as error:
            explain = cast(_Explain, self._app.exception_handlers[DmrcError])
            answer = await explain(Request(scope), error)
            await answer(scope, receive, send)
            return
        try:
            await self._app(scope, receive, send)  # where a route raises, `_on_bug` has answered before this raises
        except Exception as error:  # noqa: BLE001 the border: third-party code may raise anything
            self._plugin.count_error(_HOOK, error)


def _is_for_bridge(route: BaseRoute) -> bool:
    return _BRIDGE_TAG in getattr(route, "tags", ())


async def _on_error(_request: Request, error: Exception) -> Response:
    return error_response(cast(DmrcError, error))


async def _on_bug(_request: Request, _error: Exception) -> Response:
    return error_response(PluginError("a plugin made a mistake", remedy="See: dmrc plugins"))
