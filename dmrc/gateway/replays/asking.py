"""A request that is to be found in a cassette: read as the recorder reads it, so that equal ones are equal."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from dataclasses import dataclass, replace

from dmrc.capture.recorder import Recorder
from dmrc.cassettes.errors import NotRecordedError
from dmrc.cassettes.forms import route_at
from dmrc.cassettes.interaction import Asked, route_of
from dmrc.dialects.dialect import LoadOrUnload
from dmrc.dialects.table import dialect_of
from dmrc.errors import DmrcError
from dmrc.exchange import Exchange
from dmrc.gateway.serving.model_names import ModelNames
from dmrc.hooks.event_types import Request
from dmrc.project import Project
from dmrc.projects import Caller, Projects

AT_ONCE_BYTES = 32 << 10
"""To read a longer request takes milliseconds, and so a thread."""


class UnrecordableError(DmrcError):
    """A request that the record would not keep, and so no cassette holds: why."""


@dataclass(frozen=True, slots=True)
class MeantModel:
    """Which model a request means."""

    key: str | None
    """Its key in `models:`; None of one that its caller may use without a declaration."""
    name: str
    """As the caller wrote it."""


class RequestReader:
    """Reads requests. For one event loop."""

    def __init__(
        self, projects: Projects, names: ModelNames, recorder: Recorder, filters_capture: Callable[[str | None], bool]
    ) -> None:
        """Read as `recorder` does; `filters_capture` returns whether plugins of a project change what is recorded."""
        self._projects = projects
        self._names = names
        self._recorder = recorder
        self._filters_capture = filters_capture

    def meant(self, exchange: Exchange, request: Request, project: Project | None) -> MeantModel | None:
        """Return which model is meant; None where the request names none that its caller may use.

        `project` is what the hook has: of a key that a person made it holds what that opens.
        """
        name = request.body.get("model")
        if not isinstance(name, str) or not name.strip():
            return None
        registration = self._projects.find(exchange.project)
        if registration is not None:
            caller = Caller(exchange.key_id, exchange.service, registration)
            declared = self._names.find(caller.models.values(), name)
            if declared is not None:
                return MeantModel(declared.key, name)
            if not registration.any_model:
                return None
        elif project is not None and project.models and not self._names.find(project.models.values(), name):
            return None
        return MeantModel(None, name)

    async def asked(self, exchange: Exchange, request: Request, model: MeantModel) -> Asked:
        """Return the request as a cassette would have it: without media, secrets, and what plugins leave out.

        Raises:
            UnrecordableError: No cassette can have it.
        """
        if len(exchange.request_body) <= AT_ONCE_BYTES and not self._filters_capture(exchange.project):
            return self._read(exchange, request, model)
        return await asyncio.to_thread(self._read, exchange, request, model)

    def _read(self, exchange: Exchange, request: Request, model: MeantModel) -> Asked:
        body = json.dumps(request.body).encode()
        whole = replace(exchange, request_body=body, request_truncated=False, model_key=model.key)
        kept = self._recorder.as_recorded(whole, request.body)
        if kept is None:
            raise UnrecordableError("a plugin keeps such requests out of the record (dmrc_filter_capture)")
        if not kept.request_body:
            raise UnrecordableError(
                f"the secrets of project '{exchange.project}' are not known any more", remedy="Run dmrc up again"
            )
        try:
            return Asked.of(kept)
        except NotRecordedError as error:
            raise UnrecordableError(error.message) from error


def only_loads(exchange: Exchange, request: Request) -> bool:
    """Return whether a request is to load its model, or to unload it, and wants no answer of it."""
    if exchange.request_headers.get("x-preload-only") == "true":
        return True
    said = dialect_of(exchange.dialect, exchange.operation).messages(request.body)
    if any(message.get("content") for message in said):
        return False
    try:
        route = route_at(exchange.dialect, exchange.operation, route_of(exchange.path))
        return isinstance(route.call(request.body, b"", None), LoadOrUnload)
    except DmrcError:
        return False
