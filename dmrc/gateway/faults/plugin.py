"""The plugin that makes the faults of one project. Projects without a plan have none, and pay nothing."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import aclosing
from dataclasses import dataclass

from dmrc import hookimpl
from dmrc.dialects.table import dialect_of
from dmrc.exchange import FAULT, FAULT_SKIPPED, Exchange
from dmrc.gateway.faults.malformed import MalformedArguments
from dmrc.gateway.faults.stream_pieces import StreamPieces
from dmrc.gateway.replays.asking import only_loads
from dmrc.hooks.event_types import Annotate, AnswerCut, Refusal, Request
from dmrc.project import Fault, FaultKind, FaultPlan
from dmrc.projects import WHOLE_PROJECT

_NUMBER = "fault_of_request"
_LONGEST_SECONDS = 3700.0


@dataclass(slots=True)
class ServiceCount:
    """What a service has met so far."""

    requests: int
    """Those that could meet a fault."""
    made: dict[FaultKind, int]
    """How many met which."""


class FaultPlugin:
    """Counts the requests of each service, and makes what the plan has for their numbers."""

    dmrc_filter_seconds = _LONGEST_SECONDS

    def __init__(self, plan_of: Callable[[str | None], FaultPlan | None]) -> None:
        """Ask `plan_of` for the plan of a service; None stands for callers who are no service."""
        self._plan_of = plan_of
        self.counts: dict[str, ServiceCount] = {}
        """By service."""

    @hookimpl(tryfirst=True)
    async def dmrc_request(self, exchange: Exchange, request: Request) -> Request | Refusal | None:
        """Refuse a request, or note what is to become of its answer."""
        plan = self._plan_of(exchange.service)
        if plan is None or exchange.operation == "count_tokens" or only_loads(exchange, request):
            return None
        service = exchange.service or WHOLE_PROJECT
        count = self.counts.setdefault(service, ServiceCount(0, {}))
        count.requests += 1
        fault = plan.fault_of(service, count.requests)
        if fault is None:
            return None
        if fault.kind == "malformed_tool_arguments" and not request.body.get("tools"):
            return request.annotated(**{FAULT_SKIPPED: f"{fault.kind}: the request has no tools"})
        count.made[fault.kind] = count.made.get(fault.kind, 0) + 1
        whose = f"made on purpose by dmrc (fault {fault.kind}, request {count.requests} of {_named(exchange.service)})"
        notes = {FAULT: fault.kind, _NUMBER: count.requests}
        refusal = _refusal(fault, request.body.get("model"), whose)
        return request.annotated(**notes) if refusal is None else refusal.annotated(**notes)

    @hookimpl(trylast=True)
    async def dmrc_response_stream(
        self, exchange: Exchange, stream: AsyncIterator[bytes], answered_by: str | None, annotate: Annotate
    ) -> AsyncIterator[bytes] | None:
        """Change an answer as was noted, whoever gave it."""
        del answered_by  # an engine's and a plugin's answers fail alike
        number, plan = exchange.annotations.get(_NUMBER), self._plan_of(exchange.service)
        if plan is None or not isinstance(number, int):
            return None
        fault = plan.fault_of(exchange.service or WHOLE_PROJECT, number)
        if fault is None or fault.kind != exchange.annotations.get(FAULT):
            return None  # the plan is another one since the request came
        match fault.kind:
            case "slow_first_token":
                return _late(stream, fault.seconds)
            case "cut":
                return _cut(stream, fault.after if exchange.stream else 0, annotate)
            case "malformed_tool_arguments":
                return _malformed(exchange, stream, annotate)
        return None


def _named(service: str | None) -> str:
    return f"service '{service}'" if service else "a caller without a service's key"


def _refusal(fault: Fault, model: object, whose: str) -> Refusal | None:
    """Return the refusal that a fault is; None where it concerns the answer."""
    match fault.kind:
        case "rate_limit":
            seconds = fault.retry_after
            message = f"too many requests: {whose}. Try again in {seconds} s"
            return Refusal(message=message, status=429, error_type="rate_limit_error", retry_after_seconds=seconds)
        case "error":
            return Refusal(message=f"the engine failed: {whose}", status=fault.status, error_type="server_error")
        case "missing_model":
            message = f"model '{model}' is not in the store: {whose}"
            return Refusal(message=message, status=404, error_type="not_found_error", code="model_not_found")
    return None


async def _late(stream: AsyncIterator[bytes], seconds: float) -> AsyncGenerator[bytes]:
    """Yield a stream whose first piece is held back."""
    is_first = True
    async for chunk in stream:
        if is_first:
            await asyncio.sleep(seconds)
            is_first = False
        yield chunk


async def _malformed(exchange: Exchange, stream: AsyncIterator[bytes], annotate: Annotate) -> AsyncGenerator[bytes]:
    """Yield an answer without the end of its tool calls' arguments."""
    malformed = MalformedArguments(dialect_of(exchange.dialect, exchange.operation))
    async with aclosing(malformed.stream(stream) if exchange.stream else malformed.whole(stream)) as changed:
        async for piece in changed:
            yield piece
    if not malformed.has_cut:
        _skip(annotate, "malformed_tool_arguments: the answer calls no tool")


async def _cut(stream: AsyncIterator[bytes], after: int, annotate: Annotate) -> AsyncGenerator[bytes]:
    """Yield the first pieces of a stream, and break it off; 0: break off what is no stream, when it is there."""
    pieces, sent = StreamPieces(), 0
    async for chunk in stream:
        if not after:
            raise AnswerCut("the answer is cut: made on purpose by dmrc (fault cut)")
        for piece in pieces.read(chunk):
            if sent == after:
                raise AnswerCut(f"the answer is cut after piece {after}: made on purpose by dmrc (fault cut)")
            sent += 1
            yield piece
    _skip(annotate, f"cut: the answer had {sent} pieces")
    if rest := pieces.rest():
        yield rest


def _skip(annotate: Annotate, why: str) -> None:
    """Say that a fault was not made after all."""
    annotate(**{FAULT: None, FAULT_SKIPPED: why})
