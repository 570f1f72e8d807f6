"""Which models the playground can ask, each with what it can and what holds where a request says nothing."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from dataclasses import dataclass

from dmrc.capture.summary import model_name
from dmrc.engines.sampling import Default, defaults
from dmrc.errors import DmrcError, InputError
from dmrc.exchange import JsonValue
from dmrc.gateway.server.page_sessions import SERVICE
from dmrc.gateway.serving.catalog import Catalog
from dmrc.models.description import capabilities
from dmrc.project import ModelDeclaration, own_names
from dmrc.projects import WHOLE_PROJECT, Caller, Registration
from dmrc.scheduler.target import Target


@dataclass(frozen=True, slots=True)
class AskableModel:
    """One entry of the list."""

    name: str
    """What a request calls it."""
    project: str | None
    """Whose declaration it is; None: of the store."""
    place: str
    """Who serves it: `llama.cpp`, `api.example.com`."""
    services: tuple[str, ...] = ()
    """Which services of the project use it: their variables open it to a program."""
    context_tokens: int | None = None
    """What one request may use; None where that is not known."""
    can: tuple[str, ...] | None = None
    """`vision`, `tools`, …; None where only its server knows."""
    defaults: tuple[tuple[str, Default], ...] = ()
    """What holds for each parameter that a request leaves out."""

    def to_json(self) -> dict[str, JsonValue]:
        """Return it as the page's script reads it."""
        return {
            "name": self.name,
            "shown": model_name(self.name),
            "project": self.project,
            "place": self.place,
            "services": list(self.services),
            "context_tokens": self.context_tokens,
            "can": None if self.can is None else list(self.can),
            "defaults": {name: {"value": one.value, "origin": one.origin} for name, one in self.defaults},
        }


async def askable_models(catalog: Catalog, projects: Iterable[Registration]) -> list[AskableModel]:
    """Return the models that chat: those that projects declare, and those of the store, each under its first name."""
    stored = {model.digest: name for name, model in reversed(await catalog.names(None)) if model is not None}
    wanted: list[tuple[str, Registration | None, ModelDeclaration | None]] = [
        (name, project, declaration)
        for project in projects
        if not project.is_replayed  # cassettes answer, and only what the project itself has asked
        for name, declaration in own_names(project.models.values()).items()
    ]
    wanted += [(name, None, None) for name in sorted(stored.values())]
    found = await asyncio.gather(*(_model(catalog, *one) for one in wanted))
    return [one for one in found if one is not None]


async def _model(
    catalog: Catalog, name: str, project: Registration | None, declaration: ModelDeclaration | None
) -> AskableModel | None:
    """Return one model; None where it does not chat, or its files are not here."""
    if project is not None and declaration is not None and declaration.options.host is not None:
        # What its host has set is the host's to say, and to ask it takes as long as the way there.
        return AskableModel(
            name,
            project.name,
            declaration.options.host,
            _services(project, declaration),
            declaration.options.context_size,
            None,
            tuple(defaults("other", declaration.options.host).items()),
        )
    caller = None if project is None else Caller(None, SERVICE, project)
    try:
        target = (await catalog.resolved(caller, name, "chat")).target
    except InputError:  # it is for embeddings, or to rank
        return None
    except DmrcError:  # declared, and not in the store
        if project is None:
            return None
        target = None
    services = () if project is None or declaration is None else _services(project, declaration)
    whose = None if project is None else project.name
    if target is None:
        return AskableModel(name, whose, "not in the store", services)
    return await asyncio.to_thread(_described, target, name, whose, services)


def _described(target: Target, name: str, project: str | None, services: tuple[str, ...]) -> AskableModel:
    model = target.model
    facts = None if model is None else model.facts
    place = str(target.options.upstream) if target.options.upstream else target.engine
    can = None
    if model is not None and target.server == "llama-server":
        can = tuple(capabilities(facts, target.template or "", has_projector=model.companions.mmproj is not None))
    found = defaults(
        target.server, target.engine, target.options.runtime_flags or (), None if facts is None else facts.metadata
    )
    return AskableModel(name, project, place, services, target.context_size, can, tuple(found.items()))


def _services(project: Registration, declaration: ModelDeclaration) -> tuple[str, ...]:
    used = (name for name, keys in project.services.items() if declaration.key in keys)
    return tuple(name for name in used if name != WHOLE_PROJECT)
