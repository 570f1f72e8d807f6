"""The inference routes: one request, from its first byte to its exchange. Plain ASGI, so that streams stay streams."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable, Coroutine
from dataclasses import dataclass

import aiohttp
from starlette.types import Receive, Scope, Send

from dmrc.capture.masking import CaptureLevel
from dmrc.errors import DmrcError, EngineError
from dmrc.exchange import Exchange, Operation
from dmrc.gateway.admission import Admission
from dmrc.gateway.answers import error_event, error_response
from dmrc.gateway.bodies import ClientDisconnected
from dmrc.gateway.catalog import Catalog
from dmrc.gateway.filtering import Filters
from dmrc.gateway.observation import Observation
from dmrc.hooks.plugins import Plugins
from dmrc.projects import Caller
from dmrc.scheduler.lease import Lease
from dmrc.scheduler.scheduler import Scheduler

_log = logging.getLogger(__name__)

OPERATIONS: dict[str, Operation] = {
    "chat/completions": "chat",
    "completions": "completion",
    "embeddings": "embedding",
}
"""Route below `/v1/`, and what it asks for."""

Record = Callable[[Exchange, CaptureLevel | None], None]
"""Takes a finished exchange and the capture level of its project, at once and without raising."""


@dataclass(frozen=True, slots=True)
class Steps:
    """What each request goes through, in this order."""

    admission: Admission
    """Who may come in."""
    plugins: Plugins
    """Whose filters may change or answer it."""
    catalog: Catalog
    """Which model it means."""
    scheduler: Scheduler
    """Which runner serves it."""
    record: Record
    """Who hears of its end."""


class Inference:
    """The ASGI application behind one inference route."""

    def __init__(self, route: str, steps: Steps) -> None:
        """Serve `route`, one of `OPERATIONS`."""
        self._route = route
        self._operation = OPERATIONS[route]
        self._steps = steps

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request; every outcome ends in one exchange."""
        observation = Observation(scope, self._operation, send)
        caller: Caller | None = None
        try:
            caller = self._steps.admission.admit(scope)
            observation.saw_caller(caller)
            async with self._steps.admission.bodies.read(receive) as body:
                observation.saw_request(body)
                await self._until_disconnected(self._answer(caller, observation), receive, observation)
        except DmrcError as error:
            await _fail(error, observation)
        except ClientDisconnected:
            observation.client_disconnected = True
        except Exception:  # noqa: BLE001 the border: a bug of ours is one answer of 500, and a traceback in the log
            _log.exception("request %s failed", observation.id)
            await _fail(EngineError("dmrc made a mistake; see: dmrc logs"), observation)
        finally:
            level = caller.registration.capture if caller else None
            self._steps.record(observation.finished(), level)

    async def _answer(self, caller: Caller | None, observation: Observation) -> None:
        filters = Filters(self._steps.plugins, caller, observation)
        if await filters.answer():
            return
        resolved = self._steps.catalog.resolve(caller, observation.model(), self._operation)
        observation.saw_target(resolved.target, resolved.model_key)
        async with self._steps.scheduler.lease(resolved.target, observation.keep_alive_seconds()) as lease:
            observation.saw_lease(lease)
            await self._forward(lease, observation, filters)

    async def _forward(self, lease: Lease, observation: Observation, filters: Filters) -> None:
        """Send the request to the runner and its answer to the caller, byte by byte as they come."""
        name = lease.runner.target.reference
        try:
            async with lease.session.post(
                f"http://runner/v1/{self._route}",
                data=observation.request_body,
                headers=observation.forwarded_headers(),
            ) as answer:
                content_type = answer.headers.get("content-type", "application/json")
                if content_type.startswith("text/event-stream"):
                    await self._stream(answer, observation, name, filters)
                else:
                    # Read whole, so that a runner that dies in the middle still becomes an honest status.
                    body = await filters.whole(await answer.read())
                    await observation.start(answer.status, content_type, len(body))
                    await observation.send(body, more=False)
        except (aiohttp.ClientError, OSError) as error:
            raise _died(name, error) from error

    async def _stream(
        self, answer: aiohttp.ClientResponse, observation: Observation, name: str, filters: Filters
    ) -> None:
        await observation.start(answer.status, "text/event-stream; charset=utf-8", None)
        try:
            if filters.stream:
                async with contextlib.aclosing(filters.chunks(answer.content.iter_any())) as chunks:
                    async for chunk in chunks:
                        await observation.send(chunk, more=True)
            else:
                while chunk := await answer.content.readany():
                    await observation.send(chunk, more=True)
        except (aiohttp.ClientError, OSError) as error:
            raise _died(name, error) from error
        await observation.send(b"", more=False)

    async def _until_disconnected(
        self, work: Coroutine[object, object, None], receive: Receive, observation: Observation
    ) -> None:
        """Run `work`, and cancel it when the caller goes away first: the runner's slot is free at once."""
        task = asyncio.create_task(work)
        watch = asyncio.create_task(_disconnected(receive))
        try:
            await asyncio.wait((task, watch), return_when=asyncio.FIRST_COMPLETED)
            if not task.done():
                observation.client_disconnected = True
                task.cancel()
                with contextlib.suppress(asyncio.CancelledError):
                    await task
                return
            task.result()
        finally:
            watch.cancel()
            task.cancel()


async def _fail(error: DmrcError, observation: Observation) -> None:
    """Tell the caller: by a status when nothing was sent yet, else by an error event and never by `[DONE]`."""
    observation.saw_error(error)
    if observation.client_disconnected:
        return
    if observation.started:
        await observation.send(error_event(error), more=False)
        return
    response = error_response(error)
    await observation.start(response.status_code, "application/json", len(response.body), dict(response.headers))
    await observation.send(bytes(response.body), more=False)


async def _disconnected(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


def _died(name: str, error: Exception) -> EngineError:
    return EngineError(
        f"the engine of model '{name}' broke off: {str(error) or type(error).__name__}", remedy="See: dmrc logs"
    )
