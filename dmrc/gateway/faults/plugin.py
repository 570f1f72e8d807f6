"""The plugin that makes the faults of one project. Projects without a plan have none, and pay nothing."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable

from dmrc import hookimpl
from dmrc.exchange import FAULT, FAULT_PLANNED, FAULT_SKIPPED, Exchange
from dmrc.gateway.faults.answers import Making, ServiceCount, harmed
from dmrc.gateway.replays.asking import only_loads
from dmrc.gateway.server.page_sessions import is_of_page
from dmrc.hooks.event_types import Annotate, Refusal, Request
from dmrc.project import Fault, FaultPlan
from dmrc.projects import WHOLE_PROJECT

_NUMBER = "fault_of_request"
_LONGEST_SECONDS = 3700.0


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
        plan = None if is_of_page(exchange) else self._plan_of(exchange.service)
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
        whose = f"made on purpose by dmrc (fault {fault.kind}, request {count.requests} of {_named(exchange.service)})"
        refusal = _refusal(fault, request.body.get("model"), whose)
        if refusal is None:
            return request.annotated(**{FAULT_PLANNED: fault.kind, _NUMBER: count.requests})
        count.add(fault.kind)
        return refusal.annotated(**{FAULT: fault.kind, _NUMBER: count.requests})

    @hookimpl(trylast=True)
    async def dmrc_response_stream(
        self, exchange: Exchange, stream: AsyncIterator[bytes], answered_by: str | None, annotate: Annotate
    ) -> AsyncIterator[bytes] | None:
        """Change an answer as was noted, whoever gave it."""
        del answered_by  # an engine's and a plugin's answers fail alike
        kind, number = exchange.annotations.get(FAULT_PLANNED), exchange.annotations.get(_NUMBER)
        if not isinstance(number, int):
            return None
        service, plan = exchange.service or WHOLE_PROJECT, self._plan_of(exchange.service)
        fault = plan.fault_of(service, number) if plan is not None else None
        if fault is None or fault.kind != kind:
            annotate(**{FAULT_PLANNED: None, FAULT_SKIPPED: f"{kind}: another plan holds since the request came"})
            return None
        count = self.counts.setdefault(service, ServiceCount(0, {}))
        return harmed(fault, exchange, stream, Making(fault.kind, count, annotate))


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
