"""Routes that FastAPI reads and describes: who may ask is decided first, then the body is read, then FastAPI checks it.

FastAPI alone reads a body before any dependency has a say, and only where `Content-Type` is JSON's, which many clients
do not send. Source: https://fastapi.tiangolo.com/how-to/custom-request-and-route/
"""

from __future__ import annotations

import copy
import itertools
from collections.abc import Awaitable, Callable, Coroutine, Iterable
from typing import Annotated, Any, cast

from fastapi import APIRouter, Depends, FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import Response
from fastapi.routing import APIRoute
from fastapi.utils import generate_unique_id
from pydantic import BaseModel, BeforeValidator
from starlette.routing import compile_path
from starlette.types import Scope

from dmrc.errors import HttpInputError, InputError
from dmrc.gateway.server.bad_requests import RouteSchema, refusal
from dmrc.gateway.server.request_bodies import value_of
from dmrc.projects import Caller

BAD_BODY = 422
"""Status of a body that a route cannot read."""

_CALLER = "dmrc.caller"


def route_class(
    admit: Callable[[Scope], Caller | None] | None = None,
    *,
    bad_body: int = BAD_BODY,
    read: Callable[[Request], Awaitable[object]] = value_of,
) -> type[APIRoute]:
    """Return a class of routes whose callers `admit` lets in; None lets in everybody.

    `bad_body` is the status of a body that cannot be read; `read` returns a body as JSON, or raises InputError.
    """

    class TypedRoute(APIRoute):
        def __init__(self, path: str, endpoint: Callable[..., Any], **options: Any) -> None:
            # What a handler leaves out of its answer stays out: no field has a default there.
            super().__init__(path, endpoint, **{**options, "response_model_exclude_unset": True})
            self._fields: RouteSchema | None = None

        def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
            handle = super().get_route_handler()

            async def answer(request: Request) -> Response:
                if admit is not None:
                    request.scope[_CALLER] = admit(request.scope)
                if self.body_field is not None:
                    request = _Read(request, await _value(request, read, bad_body))
                try:
                    return await handle(request)
                except RequestValidationError as error:
                    self._fields = self._fields or RouteSchema(self)
                    raise refusal(self._fields, error, bad_body) from error

            return answer

    return TypedRoute


def typed_router(routes: type[APIRoute], tag: str, error: type[BaseModel]) -> APIRouter:
    """Return a router for `routes`; `tag` is the API that they belong to, `error` how it words errors.

    The error's schema is named and not given: it would be built once for each route. `Description` has it.
    """
    schema = {"$ref": f"#/components/schemas/{error.__name__}"}
    words: dict[str, Any] = {"description": "What is wrong", "content": {"application/json": {"schema": schema}}}
    return APIRouter(route_class=routes, tags=[tag], responses={"4XX": words})


def repeat(router: APIRouter, prefix: str, others: Iterable[str]) -> None:
    """Have the routes of a router, which begin with `prefix`, below others, too.

    They are copied: FastAPI takes a millisecond to make one, and a daemon that starts is waited for.
    """
    for known, other in itertools.product([*router.routes], others):
        route = copy.copy(cast(APIRoute, known))
        route.path = other + route.path.removeprefix(prefix)
        route.path_regex, route.path_format, route.param_convertors = compile_path(route.path)
        route.unique_id = generate_unique_id(route)
        router.routes.append(route)


def include(app: FastAPI, router: APIRouter) -> None:
    """Add the routes of a router to an application, each by itself.

    `include_router` puts one route of FastAPI's own before all of them, in which nobody else sees paths and methods:
    `Unrouted` and `PluginRoutes` look for these.
    """
    app.router.routes.extend(router.routes)


class _Read(Request):
    """A request whose body is read, whatever its `Content-Type` says."""

    def __init__(self, request: Request, value: object) -> None:
        headers = [(name, value) for name, value in request.scope["headers"] if name != b"content-type"]
        headers.append((b"content-type", b"application/json"))
        super().__init__({**request.scope, "headers": headers}, request.receive)
        self._value = value

    async def body(self) -> bytes:
        """Return what is not empty: FastAPI looks for no more."""
        return b"read"

    async def json(self) -> object:
        """Return the value of the body."""
        return self._value


async def _value(request: Request, read: Callable[[Request], Awaitable[object]], status: int) -> object:
    try:
        return await read(request)
    except HttpInputError:
        raise
    except InputError as error:
        raise HttpInputError(error.message, status=status) from error


async def _caller(request: Request) -> Caller | None:
    caller: Caller | None = request.scope[_CALLER]
    return caller


CallerOf = Annotated[Caller | None, Depends(_caller)]
"""Whose key a request carries, for a handler; None where it needs none and has none."""

QueryFlag = Annotated[bool, BeforeValidator(lambda word: word is True or str(word).lower() in ("1", "t", "true"))]
"""A parameter of a query that says yes in Go's words; any other word is no."""
