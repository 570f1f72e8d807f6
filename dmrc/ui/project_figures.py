"""What a service came to lately, and how its models are, as the page of projects shows them."""

from __future__ import annotations

from dataclasses import dataclass
from urllib.parse import urlencode

from dmrc.capture.totals import ServiceTotals, together
from dmrc.errors import DmrcError, ModelNotFoundError
from dmrc.exchange import JsonValue
from dmrc.gateway.server.page_sessions import SERVICE
from dmrc.gateway.serving.catalog import Catalog
from dmrc.project import ModelDeclaration
from dmrc.projects import Caller, Registration
from dmrc.scheduler.runner import ManagedRunner
from dmrc.scheduler.states import RunnerState

_STATES = {
    RunnerState.WAITING: ("waits for memory", "cancelled"),
    RunnerState.STARTING: ("loading", "running"),
    RunnerState.READY: ("loaded", "done"),
    RunnerState.DRAINING: ("unloading", "cancelled"),
    RunnerState.FAILED: ("failed", "failed"),
}


@dataclass(frozen=True, slots=True)
class ModelState:
    """A model of a service, and how it is now."""

    declaration: ModelDeclaration
    """What the project says of it."""
    state: str
    """`loaded`, `not loaded`, `not in the store`, …; of an upstream where it is."""
    kind: str
    """Class of its badge; "" is a quiet one."""
    mode: str
    """What it is for: `completion`, `embedding` or `rerank`."""


async def model_state(
    catalog: Catalog, runners: list[ManagedRunner], project: Registration, declaration: ModelDeclaration
) -> ModelState:
    """Return how a model of a project is now."""
    mode = declaration.options.mode or "completion"
    if project.is_replayed:
        return ModelState(declaration, "answered from cassettes", "replayed", mode)
    if declaration.options.host is not None:
        return ModelState(declaration, f"on {declaration.options.host}", "", mode)
    try:
        target = (await catalog.resolved(Caller(None, SERVICE, project), declaration.key, None)).target
    except ModelNotFoundError:
        return ModelState(declaration, "not in the store", "failed", mode)
    except DmrcError as error:
        return ModelState(declaration, error.message, "failed", mode)
    upstream = declaration.options.upstream
    running = next((one for one in runners if one.target.key == target.key), None)
    if upstream is not None:
        return ModelState(declaration, f"upstream {upstream}", "", mode)
    if running is None or running.state not in _STATES:
        return ModelState(declaration, "not loaded", "", target.mode)
    state, kind = _STATES[running.state]
    return ModelState(declaration, state, kind, target.mode)


def figures(totals: ServiceTotals) -> dict[str, JsonValue]:
    """Return the figures of one service as the page's script reads them."""
    whole = together(totals.parts)
    return {
        "requests": whole.requests,
        "failed": whole.failed,
        "prompt_tokens": whole.prompt_tokens,
        "completion_tokens": whole.completion_tokens,
        "p95_ms": totals.p95_ms,
        "done": [part.requests - part.failed for part in totals.parts],
        "errors": [part.failed for part in totals.parts],
        "last_at": totals.last_at,
        "last_id": totals.last_id,
    }


def link(project: str, service: str | None, **more: str) -> str:
    """Return the filters of an address: `project=shop&service=web&errors=1`."""
    named = {"project": project} if service is None else {"project": project, "service": service}
    return urlencode({**named, **more})
