"""Ollama's routes about models: version, tags, show, ps, pull, copy and delete.

Source: https://github.com/ollama/ollama/blob/main/docs/api.md
"""

from __future__ import annotations

import asyncio
import json
import re
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import UTC, datetime

from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse, Response

from dmrc.dialects.ollama.replies import STREAM_TYPE
from dmrc.engines.engine import MemoryEstimate
from dmrc.engines.local_model import LocalModel
from dmrc.errors import NotFoundError
from dmrc.exchange import JsonValue
from dmrc.gateway.routes.dmr_documents import Version
from dmrc.gateway.routes.error_documents import OllamaError
from dmrc.gateway.routes.management import admit_manager
from dmrc.gateway.routes.ollama_documents import PULL_LINES, Copy, OllamaModelName, Pull, RunningModels, Shown, Tags
from dmrc.gateway.routes.transfers import Transfers
from dmrc.gateway.server.admission import Admission
from dmrc.gateway.server.typed_routes import CallerOf, include, route_class, typed_router
from dmrc.gateway.serving.catalog import Catalog
from dmrc.gguf import GgufFacts
from dmrc.models import Models, capabilities
from dmrc.project import RECORDED_ENGINE
from dmrc.reference import Reference
from dmrc.scheduler.runner import ManagedRunner
from dmrc.scheduler.scheduler import Scheduler
from dmrc.sources import Progress, ProgressEvent
from dmrc.store import StoredModel

# Clients compare it with the version of Ollama that has what they want: this one has all that is here.
_OLLAMA_VERSION = "0.12.0"
_FOR_EVER_SECONDS = 100 * 365 * 86400.0


class PullLines:
    """The lines of `POST /api/pull`.

    Shape: `{"status": "pulling 3f1ab…", "digest": "sha256:3f1ab…", "total": 98362432, "completed": 1048576}`, in bytes.
    """

    def __init__(self) -> None:
        self._has_begun = False

    def progress(self, event: ProgressEvent) -> bytes:
        """Return the line for one step, with Ollama's first one before it."""
        beginning = b"" if self._has_begun else _line({"status": "pulling manifest"})
        self._has_begun = True
        if event.layer is None:
            return beginning + _line({"status": event.status})
        name = event.layer.removeprefix("sha256:")[:12]
        sizes = {"total": event.size_bytes, "completed": event.current_bytes}
        return beginning + _line({"status": f"pulling {name}", "digest": event.layer, **sizes})

    def success(self, _message: str) -> bytes:
        """Return the last line of what went well."""
        return _line({"status": "success"})

    def error(self, message: str) -> bytes:
        """Return the last line of what failed."""
        return _line({"error": message})


class OllamaModels:
    """The handlers. A service sees its own models, and manages none."""

    def __init__(
        self, admission: Admission, models: Models, catalog: Catalog, scheduler: Scheduler, transfers: Transfers
    ) -> None:
        """Work on `models`, by the names of `catalog`; `scheduler` runs them, `transfers` runs pulls."""
        self._transfers = transfers
        self._admission = admission
        self._models = models
        self._store = models.store
        self._catalog = catalog
        self._scheduler = scheduler

    def add_to(self, app: FastAPI) -> None:
        """Add the routes. Ollama answers a bad body with 400, on these routes as on those of inference."""
        asking = typed_router(route_class(self._admission.admit, bad_body=400), "Ollama", OllamaError)
        asking.get("/api/version", response_model=Version)(self.version)
        asking.get("/api/tags", response_model=Tags)(self.tags)
        asking.get("/api/ps", response_model=RunningModels)(self.ps)
        asking.post("/api/show", response_model=Shown)(self.show)
        managing = typed_router(route_class(admit_manager(self._admission), bad_body=400), "Ollama", OllamaError)
        managing.post("/api/pull", response_class=Response, responses=PULL_LINES)(self.pull)
        managing.post("/api/copy", response_class=Response)(self.copy)
        managing.delete("/api/delete", response_class=Response)(self.delete)
        include(app, asking)
        include(app, managing)

    async def version(self) -> dict[str, str]:
        """Return the version of Ollama that has what is here."""
        return {"version": _OLLAMA_VERSION}

    async def tags(self, caller: CallerOf) -> dict[str, object]:
        """Return the models that the caller may use."""
        names = await self._catalog.names(caller)
        # A model of an upstream has no files to describe; it can be asked all the same.
        return {"models": [_described(name, model) for name, model in names if model is not None]}

    async def ps(self, caller: CallerOf) -> dict[str, object]:
        """Return those of them that run."""
        names = await self._catalog.names(caller)
        known = [(name, model) for name, model in names if model is not None]
        running = [
            (runner, *_called(runner, those))
            for runner in self._scheduler.runners()
            if (those := [one for one in known if one[1].digest == runner.target.digest])
        ]
        return {"models": [_running(*one) for one in running]}

    async def show(self, caller: CallerOf, body: OllamaModelName) -> dict[str, object]:
        """Return one model in detail."""
        target = (await self._catalog.resolved(caller, body.name, "chat")).target
        local = target.model
        if local is None or target.digest is None:
            if target.engine == RECORDED_ENGINE:
                raise NotFoundError(f"model '{body.name}' is replayed, and has no files here")
            raise NotFoundError(
                f"model '{body.name}' is an upstream's, and has no files here", remedy="Ask that server"
            )
        model = await asyncio.to_thread(self._store.resolve, target.digest)
        template = (local.facts.chat_template if local.facts else None) or ""
        if local.template is not None:
            template = local.template
        described = _described(body.name, model)
        return {
            "modelfile": f"FROM {target.reference}\n",
            "parameters": f"num_ctx                        {target.context_size}",
            "template": template,
            "license": "",
            "details": described["details"],
            "model_info": _model_info(local.facts) if local.facts else {},
            "capabilities": [*_capabilities(local, template)],
            "modified_at": described["modified_at"],
        }

    async def pull(self, request: Request, body: Pull) -> Response:
        """Pull, and ask the registry for news. `insecure` has no say: that is for INSECURE_REGISTRY, of the daemon."""

        def pull(progress: Progress, cancelled: Callable[[], bool]) -> str:
            return self._models.pull(body.name, progress, refresh=True, cancelled=cancelled).digest

        if not body.stream:
            await self._transfers.run(lambda cancelled: pull(lambda _event: None, cancelled), request)
            return JSONResponse({"status": "success"})
        return await self._transfers.streamed(PullLines(), pull, request, STREAM_TYPE)

    async def copy(self, body: Copy) -> Response:
        """Give a model another name."""
        registry = self._catalog.default_registry
        target = Reference.parse(body.destination, default_registry=registry)
        model = await asyncio.to_thread(self._store.resolve, body.source, registry)
        await self._transfers.run(lambda _cancelled: self._store.tag(model, target))
        return Response()

    async def delete(self, body: OllamaModelName) -> Response:
        """Remove a name, and with the last one the model; one that runs is unloaded, as `ollama rm` does."""
        registry = self._catalog.default_registry
        model = await asyncio.to_thread(self._store.resolve, body.name, registry)
        if len(model.tags) <= 1:
            for runner in self._scheduler.runners():
                if runner.target.digest == model.digest:
                    await self._scheduler.unload(runner)
            self._scheduler.starts.kept.forget_model(model.digest)
        await self._transfers.run(lambda _cancelled: self._store.remove(body.name, default_registry=registry))
        return Response()


def _described(name: str, model: StoredModel) -> dict[str, JsonValue]:
    config = model.config
    details: dict[str, JsonValue] = {
        "parent_model": "",
        "format": config.format,
        "family": config.architecture,
        "families": [config.architecture],
        "parameter_size": config.parameters,
        "quantization_level": config.quantization,
    }
    created = model.created or datetime.fromtimestamp(model.pulled_at or 0, UTC)
    return {
        "name": name,
        "model": name,
        "modified_at": created.isoformat(),
        "size": model.size_bytes,
        "digest": model.digest.removeprefix("sha256:"),
        "details": details,
    }


def _called(runner: ManagedRunner, known: Sequence[tuple[str, StoredModel]]) -> tuple[str, StoredModel]:
    """Return what `tags` calls the model of a runner: of several names the one that was asked for last."""
    return next((one for one in known if str(Reference.parse(one[0])) == runner.name), known[0])


def _running(runner: ManagedRunner, name: str, model: StoredModel) -> dict[str, JsonValue]:
    described = _described(name, model)
    memory = runner.need.memory if runner.need else None
    del described["modified_at"]
    expires_at = runner.expires_at or time.time() + min(runner.keep_alive_seconds, _FOR_EVER_SECONDS)
    return described | {
        "size": _size(memory) if memory else model.size_bytes,
        "size_vram": memory.device_bytes if memory else 0,
        "expires_at": datetime.fromtimestamp(expires_at, UTC).isoformat(),
        "context_length": runner.target.context_size,
    }


def _size(memory: MemoryEstimate) -> int:
    """Return the memory of a model, of which a client computes how much is on cards, as `dmrc ps` does.

    Where cards are used it is what a card could hold: a client would take the process itself, which never is on one,
    for a part of a model that found no room there. Elsewhere it is all, without what is kept of earlier prompts, which
    is memory that nobody else needs.
    """
    return max(memory.movable_bytes, memory.device_bytes) if memory.device_bytes else memory.bare_bytes


def _capabilities(model: LocalModel, template: str) -> Iterable[str]:
    return capabilities(model.facts, template, has_projector=model.companions.mmproj is not None)


def _model_info(facts: GgufFacts) -> dict[str, JsonValue]:
    """Return the GGUF header with numbers as numbers, without the template, which stands beside it."""
    known: dict[str, JsonValue] = {
        key: _value(value) for key, value in facts.metadata.items() if key != "tokenizer.chat_template"
    }
    return known | {"general.parameter_count": facts.parameters}


def _value(text: str) -> JsonValue:
    if text in ("true", "false"):
        return text == "true"
    if re.fullmatch(r"-?[0-9]{1,18}", text):
        return int(text)
    return float(text) if re.fullmatch(r"-?[0-9]+\.?[0-9]*(?:e[+-]?[0-9]{1,2})?", text) else text


def _line(document: Mapping[str, object]) -> bytes:
    return json.dumps(document, ensure_ascii=False).encode() + b"\n"
