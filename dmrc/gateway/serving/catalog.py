"""Which model does a caller mean: from a name in a request to a target that the scheduler can run."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace

from dmrc.engines.engine import Engine, LocalModel
from dmrc.errors import DmrcError, InputError, ModelNotFoundError, PermissionDeniedError
from dmrc.exchange import Operation
from dmrc.gateway.serving.companion_files import CompanionFinder, ConfiguredDraft
from dmrc.gateway.serving.model_names import ModelNames, who
from dmrc.gateway.serving.upstream_keys import UpstreamKeys
from dmrc.gguf import GgufFacts
from dmrc.project import DEFAULT_ENGINE, Merged, ModelDeclaration, ServingOptions, Upstream, merge, own_names
from dmrc.projects import Caller, Registration
from dmrc.scheduler.configuration import DEFAULTS, Configurations
from dmrc.scheduler.target import Target
from dmrc.store import Store, StoredModel


@dataclass(frozen=True, slots=True)
class Resolved:
    """A name that was understood."""

    target: Target
    """What to run."""
    model_key: str | None
    """Key in the project's `models:`, where the caller has a project."""


@dataclass(frozen=True, slots=True)
class _Known:
    """What was read of one state of the store and of the configurations."""

    as_of: tuple[int, int, int] | None
    """Which state; None for a store without an index."""
    models: dict[str, StoredModel] = field(default_factory=dict)
    """By name, as callers write it."""
    targets: dict[tuple[str | None, str, ModelDeclaration | None, Operation | None], Target] = field(
        default_factory=dict
    )
    """By who asks, and for what."""


class Catalog:
    """Names of models, as the daemon's callers may use them."""

    def __init__(
        self, store: Store, configurations: Configurations, engines: Mapping[str, Engine], default_registry: str
    ) -> None:
        """Read models from the store, and what `dmrc configure` set."""
        self._store = store
        self._engines = engines
        self._configurations = configurations
        self.default_registry = default_registry
        self._model_names = ModelNames(default_registry)
        self.upstream_keys = UpstreamKeys()
        self._companions = CompanionFinder(store, self._stored)
        self._facts: dict[str, GgufFacts | None] = {}
        self._index = store.root / "index.json"
        self._known = _Known(None)

    def resolve(self, caller: Caller | None, model: str, operation: Operation | None) -> Resolved:
        """Return what to run for `model` as this caller wrote it; without an operation, as what it is for.

        Raises:
            ModelNotFoundError: It is not in the store, and the caller's service does not declare it.
            PermissionDeniedError: It is there, and the caller's service does not declare it.
            InputError: It is not for this operation.
            UpstreamError: An upstream serves it, whose key is not known.
        """
        declaration = None if caller is None else self._declared(caller, model)
        if caller is None or declaration is None:
            return Resolved(self.target(None, model, None, operation), None)
        project = caller.registration.name
        return Resolved(self.target(project, declaration.model, declaration, operation), declaration.key)

    async def resolved(self, caller: Caller | None, model: str, operation: Operation | None) -> Resolved:
        """Do what `resolve` does, on the event loop: in a thread, where files must be read for it.

        The header of a model's file can hold hundreds of thousands of words, which takes a quarter of a second.
        """
        at_hand = self._at_hand(caller, model, operation)
        return await asyncio.to_thread(self.resolve, caller, model, operation) if at_hand is None else at_hand

    def _at_hand(self, caller: Caller | None, model: str, operation: Operation | None) -> Resolved | None:
        """Return what is remembered of a name that a caller may use."""
        found = None if caller is None else self._model_names.find(caller.models.values(), model)
        if caller is None or (found is None and caller.registration.any_model):
            project, key = None, None
        elif found is None or found.options.upstream is not None:
            return None
        else:
            project, key, model = caller.registration.name, found.key, found.model
        target = self._now().targets.get((project, model, found, operation))
        return None if target is None else Resolved(target, key)

    def full_name(self, model: str) -> str:
        """Return the full reference of a model of the store, however it is written.

        Raises:
            ModelNotFoundError: It is not in the store.
        """
        return self._full_name(self._stored(model), model)

    def digest(self, model: str) -> str:
        """Return the digest of a model of the store, however it is written.

        Raises:
            ModelNotFoundError: It is not in the store.
        """
        return self._stored(model).digest

    def merged(self, project: str | None, model: str, declaration: ModelDeclaration | None) -> Merged:
        """Return how a model is to be served, and who says so; `project` is that of the declaration, or None.

        Raises:
            ModelNotFoundError: It is not in the store.
        """
        stored = self._stored(model)
        return merge(
            (
                ("compose", ServingOptions() if declaration is None else declaration.options),
                ("command line", self._configurations.of(project, self._full_name(stored, model))),
                ("package", ServingOptions(context_size=stored.config.context_size)),
                ("default", DEFAULTS),
            )
        )

    def targets_of(self, registrations: Iterable[Registration], names: Iterable[str] = ()) -> set[str]:
        """Return the keys of all runners that these projects could use, and callers without one that say `names`."""
        operations: tuple[Operation, ...] = ("chat", "embedding", "rerank")
        uses: list[tuple[str | None, str, ModelDeclaration | None]] = [(None, name, None) for name in names]
        uses += [(known.name, each.model, each) for known in registrations for each in known.models.values()]
        keys: set[str] = set()
        for (project, model, declaration), operation in itertools.product(uses, operations):
            # A model that was removed from the store, or is not for that operation, has no runner to name.
            with contextlib.suppress(DmrcError):
                keys.add(self.target(project, model, declaration, operation).key)
        return keys

    def names(self, caller: Caller | None) -> list[tuple[str, StoredModel | None]]:
        """Return the names that this caller may use, each with its model; models not in the store are left out.

        The model of an upstream has a name only, and None for the rest.
        """
        if caller is None:
            return [(tag, model) for model in self._store.models() for tag in model.tags]
        present: dict[str, StoredModel | None] = {}
        for name, declaration in own_names(caller.models.values()).items():
            with contextlib.suppress(DmrcError):  # declared, and removed from the store since
                present[name] = None if declaration.options.upstream else self._stored(declaration.model)
        others = self.names(None) if caller.registration.any_model else []
        return [
            *present.items(),
            *(pair for pair in others if not self._model_names.find(caller.models.values(), pair[0])),
        ]

    def _declared(self, caller: Caller, model: str) -> ModelDeclaration | None:
        """Return which model of its service a caller means; None is one of the store, which it may use undeclared.

        Raises:
            PermissionDeniedError: It is there, and the service does not declare it.
            ModelNotFoundError: Nobody has it.
        """
        declared = caller.models.values()
        found = self._model_names.find(declared, model)
        if found is not None or caller.registration.any_model:
            return found
        names = ", ".join(f"'{name}'" for name in own_names(declared))
        remedy = f"It declares {names or 'none'}; add others under its 'models:'"
        if caller.is_named_key:
            remedy = f"It opens {names}; for others: dmrc key create --name … --model {model}"
        if self._exists(caller, model):
            raise PermissionDeniedError(f"{who(caller)} may not use model '{model}'", remedy=remedy)
        raise ModelNotFoundError(
            f"model '{model}' is not in the store, and {who(caller)} does not declare it", remedy=remedy
        )

    def _exists(self, caller: Caller, model: str) -> bool:
        """Return whether there is such a model: declared by another service of the project, or in the store."""
        if self._model_names.find(caller.registration.models.values(), model):
            return True
        with contextlib.suppress(DmrcError):
            self._stored(model)
            return True
        return False

    def _full_name(self, stored: StoredModel, model: str) -> str:
        """Return the tag that a caller means: one model may have several."""
        name = str(self._model_names.parse(model))
        return name if name in stored.tags else next(iter(stored.tags), stored.digest)

    def _stored(self, model: str) -> StoredModel:
        """Return a model of the store; remembered until the store changes."""
        models = self._now().models
        if model not in models:
            models[model] = self._store.resolve(model, self.default_registry)
        return models[model]

    def target(
        self, project: str | None, model: str, declaration: ModelDeclaration | None, operation: Operation | None
    ) -> Target:
        """Return what to run; without an operation, for what the model is.

        It is remembered until the store or a configuration changes, for every request asks.
        """
        upstream = declaration.options.upstream if declaration is not None else None
        if declaration is not None and upstream is not None:
            return self._upstream_target(project or "", declaration, upstream)
        if declaration is not None and declaration.options.paths:
            return self._new_target(project, model, declaration, operation)  # files change without a word
        targets = self._now().targets
        asked = (project, model, declaration, operation)
        if asked not in targets:
            targets[asked] = self._new_target(*asked)
        return targets[asked]

    def _now(self) -> _Known:
        """Return what is known of the store and the configurations as they are now.

        The loop and threads ask at the same time, so a change makes a new object: whoever began before it goes on with
        the former one, and puts nothing old into the new one.
        """
        try:
            status = self._index.stat()
            as_of = (status.st_mtime_ns, status.st_ino, self._configurations.version)
        except FileNotFoundError:
            as_of = None
        known = self._known
        if as_of is None or as_of != known.as_of:
            known = self._known = _Known(as_of)
        return known

    def _new_target(
        self, project: str | None, model: str, declaration: ModelDeclaration | None, operation: Operation | None
    ) -> Target:
        stored = self._stored(model)
        files = self._store.files(stored)
        if stored.digest not in self._facts:
            self._facts[stored.digest] = self._store.facts(stored)
        facts = self._facts[stored.digest]
        options = self.merged(project, model, declaration).options
        name = self._full_name(stored, model)
        beside = self._companions.beside(files, declaration, self._draft(project, name, options.draft))
        local = LocalModel(
            path=files.path,
            format=files.format,
            facts=facts,
            companions=beside.companions,
            chat_template=beside.chat_template,
            template=beside.template,
        )
        engine = self._engine_for(options.engine, local, model)
        settled = engine.settle(model, local, options, operation)
        return Target(
            reference=name,
            digest=stored.digest,
            model=local,
            template=engine.template(local, settled),
            identities=beside.identities,
            options=settled,
        )

    def _engine_for(self, wanted: str | None, model: LocalModel, name: str) -> Engine:
        """Return the engine that is named, or the one that serves the model's format where none is.

        Raises:
            InputError: It does not serve that format.
        """
        able = [each for each, engine in self._engines.items() if model.format in engine.formats]
        chosen = wanted or (DEFAULT_ENGINE if DEFAULT_ENGINE in able else next(iter(able), DEFAULT_ENGINE))
        if chosen not in able:
            raise InputError(
                f"model '{name}' is in the format '{model.format}', which engine '{chosen}' does not serve",
                remedy=f"Name one that does: x-dmrc: {{engine: {able[0]}}}"
                if able
                else "Use a model in another format",
            )
        return self._engines[chosen]

    def _draft(self, project: str | None, name: str, draft: str | None) -> ConfiguredDraft | None:
        """Return the draft that is set for a model, with where it was set."""
        if draft is None:
            return None
        own = self._configurations.all().get((project, name), ServingOptions())
        return ConfiguredDraft(draft, name, project if own.draft else None)

    def _upstream_target(self, project: str, declaration: ModelDeclaration, upstream: Upstream) -> Target:
        return Target(
            reference=declaration.model,
            upstream_key=self.upstream_keys.of(project, upstream),
            options=replace(declaration.options, engine=declaration.engine),
        )
