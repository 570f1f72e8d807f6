"""The inference routes: one request, from its first byte to its exchange. Plain ASGI, so that streams stay streams."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace
from functools import partial
from typing import cast

from starlette.types import Receive, Scope, Send

from dmrc.dialects.chat.checks import checked
from dmrc.dialects.chat.served import Served
from dmrc.dialects.dialect import SLOT_PATHS, Call, LoadOrUnload, Route
from dmrc.errors import CancelledError, DmrcError, EngineError, InputError, where
from dmrc.exchange import DIFF_HEADER, DIFF_NOTE
from dmrc.gateway.inference.engine_client import EngineClient
from dmrc.gateway.inference.exchange_builder import ExchangeBuilder
from dmrc.gateway.inference.filters import Filters
from dmrc.gateway.inference.forwarding import forward
from dmrc.gateway.inference.lifecycle import Lifecycle
from dmrc.gateway.inference.media_checks import check_pictures
from dmrc.gateway.server.admission import Admission
from dmrc.gateway.server.error_responses import error_response
from dmrc.gateway.server.json_reading import AT_ONCE_BYTES, at_length, written
from dmrc.gateway.server.request_bodies import ClientDisconnected
from dmrc.gateway.server.response_cycle import hang_ups_of
from dmrc.gateway.serving.catalog import Catalog, Resolved
from dmrc.gateway.serving.served import served_by
from dmrc.gateway.streams.processes import StreamProcesses
from dmrc.hooks.plugins import Plugins
from dmrc.projects import Caller
from dmrc.scheduler.scheduler import Scheduler
from dmrc.scheduler.target import Target

_log = logging.getLogger(__name__)


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
    lifecycle: Lifecycle
    """Who hears of it."""
    may_be_kept: Callable[[Caller | None, str | None], bool]
    """Whether its prompt may be in a file while its model is not loaded, by its caller and its address."""
    streams: StreamProcesses
    """Who carries its answer, where that is a stream."""


class Inference:
    """The ASGI application behind one inference route."""

    def __init__(self, route: Route, steps: Steps, engine: str | None = None) -> None:
        """Serve `route`, under the name of one engine or, with None, of any."""
        self._route = route
        self._engine = engine
        self._steps = steps

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request; every outcome ends in one exchange."""
        builder = ExchangeBuilder(scope, self._route, send)
        self._steps.lifecycle.arrived(builder)
        caller: Caller | None = None
        try:
            caller = self._steps.admission.admit(scope)
            builder.saw_caller(caller)
            if caller is not None and caller.is_diff:  # nobody else may say so
                builder.note(DIFF_NOTE, builder.request_headers.get(DIFF_HEADER))
            async with self._steps.admission.bodies.read(scope, receive) as body:
                builder.request_body = body.data
                builder.saw_document(await body.json())
                self._steps.lifecycle.started(builder)
                with _can_be_cancelled(scope, builder):
                    await self._answer(caller, builder)
        except DmrcError as error:
            await self._fail(error, builder)
        except ClientDisconnected:
            builder.client_disconnected = True
        except Exception as error:  # noqa: BLE001 the border: a bug of ours is one answer of 500, and its place in the log
            _log.error("request %s failed: %s", builder.id, where(error))
            await self._fail(EngineError("dmrc made a mistake; see: dmrc logs"), builder)
        finally:
            level = caller.registration.capture if caller else None
            self._steps.lifecycle.completed(builder, level)

    async def _answer(self, caller: Caller | None, builder: ExchangeBuilder) -> None:
        filters = Filters(self._steps.plugins, caller, builder)
        if await filters.answer():
            return
        project = caller.registration.name if caller else None
        call: Call | LoadOrUnload = LoadOrUnload(b"", b"")
        if not builder.only_preloads:
            call = await at_length(
                builder.request_body,
                partial(self._route.call, builder.document, builder.request_body, project),
            )
        resolved = await self._steps.catalog.resolved(caller, builder.model(), self._route.operation)
        builder.saw_target(resolved.target, resolved.model_key)
        self._check_engine(resolved.target)
        check_pictures(resolved.target, builder.document, builder.request_body)
        served = served_by(resolved.target, resolved.model_key)
        if isinstance(call, Call):
            call = await at_length(builder.request_body, partial(_prepared, call, served, builder.request_body))
            builder.left_out(call.left_out)
        keep_alive_seconds = builder.keep_alive_seconds()
        if isinstance(call, LoadOrUnload) and keep_alive_seconds == 0:
            await self._unload(caller, resolved)
            await _send_whole(builder, call.unloaded)
            return
        async with self._steps.scheduler.lease(resolved.target, keep_alive_seconds) as lease:
            builder.saw_lease(lease)
            if isinstance(call, LoadOrUnload):
                await _send_whole(builder, call.loaded)
                return
            name = json.dumps(builder.model()).encode()
            if call.path in SLOT_PATHS:
                may_be_kept = self._steps.may_be_kept(caller, builder.client_address)
                call = call.in_slot(lease.slot_for(call.document, may_be_kept=may_be_kept))
            client = EngineClient(lease.session, builder.forwarded_headers(), served, name, builder)
            try:
                answer = await client.ask(call)
                with closing(answer):
                    await forward(answer, call, builder, filters, self._steps.streams)
            except ConnectionError as error:
                who = f"{builder.replica}: " if builder.replica else ""
                why = f"the engine of model '{resolved.target.reference}' broke off: {who}{error}"
                raise EngineError(lease.runner.failure or why, remedy="See: dmrc logs") from error

    def _check_engine(self, target: Target) -> None:
        engine = target.engine
        if self._engine not in (None, engine):
            raise InputError(
                f"model '{target.reference}' is served by engine '{engine}', not by '{self._engine}'",
                remedy=f"Use /engines/v1 or /engines/{engine}/v1",
            )

    async def _unload(self, caller: Caller | None, resolved: Resolved) -> None:
        """End the runner that a request would use; for the user of this machine, all runners of the model."""
        target, scheduler = resolved.target, self._steps.scheduler
        for runner in scheduler.runners():
            if runner.key == target.key or (caller is None and target.digest and runner.target.digest == target.digest):
                await scheduler.unload(runner)
        scheduler.starts.kept.forget({target.key})
        if caller is None and target.digest:
            scheduler.starts.kept.forget_model(target.digest)

    async def _fail(self, error: DmrcError, builder: ExchangeBuilder) -> None:
        """Tell the caller: by a status when nothing was sent yet, else by the last words of a stream.

        An answer that is no stream has no words for it, and a stream that was cut anywhere has no place for them: it is
        left incomplete, by which the server ends the connection.
        """
        builder.saw_error(error)
        if builder.client_disconnected:
            return
        if not builder.started:
            response = error_response(error, self._route.dialect)
            await builder.start(response.status_code, "application/json", len(response.body), dict(response.headers))
            await builder.send(bytes(response.body), more=False)
        elif builder.is_stream and not builder.body.is_cut:
            await builder.send(self._route.dialect.last_words(error), more=False)


def _prepared(call: Call, served: Served, body: bytes) -> Call:
    """Return what to send for a call, checked; where it came of a long `body`, its bytes as well."""
    call = checked(_spoken_to(call, served), served)
    if call.raw is None and len(body) > AT_ONCE_BYTES:
        return replace(call, raw=b"".join(written(call.document)))
    return call


def _spoken_to(call: Call, served: Served) -> Call:
    """Return a call with what only llama.cpp's server understands, where that is who answers."""
    if not call.of_llama_cpp or not served.is_llama_cpp:
        return call
    return replace(call, document={**call.document, **call.of_llama_cpp}, raw=None)


async def _send_whole(builder: ExchangeBuilder, body: bytes) -> None:
    await builder.start(200, "application/json", len(body))
    await builder.send(body, more=False)


@contextmanager
def _can_be_cancelled(scope: Scope, builder: ExchangeBuilder) -> Iterator[None]:
    """Cancel what runs inside when the caller goes away, or the user wants it, before the answer is complete.

    The slot is free at once.

    Raises:
        ClientDisconnected: It was cancelled for the caller has gone.
        CancelledError: It was cancelled by `builder.cancel`.
    """
    task = cast("asyncio.Task[None]", asyncio.current_task())
    why: list[ClientDisconnected | CancelledError] = []

    def cancel(cause: ClientDisconnected | CancelledError) -> None:
        if not (builder.is_complete or builder.has_said_done or why):
            why.append(cause)
            builder.client_disconnected = isinstance(cause, ClientDisconnected)
            task.cancel()

    def when_told(make: Callable[[], ClientDisconnected | CancelledError]) -> None:
        builder.body.when_told(lambda: cancel(make()))

    watch = hang_ups_of(scope)
    watch(partial(when_told, ClientDisconnected))
    builder.cancel = partial(when_told, _cancelled)
    try:
        yield
    except asyncio.CancelledError:
        if not why or task.uncancel():
            raise
        raise why[0] from None
    finally:
        builder.cancel = None
        watch(None)


def _cancelled() -> CancelledError:
    return CancelledError("the request was cancelled on the machine that runs dmrc", remedy="Ask again")
