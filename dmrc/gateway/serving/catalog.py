"""Which model does a caller mean: from a name in a request to a target that the scheduler can run."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace

from dmrc.background import begin
from dmrc.engines.engine import Engine
from dmrc.errors import DmrcError, ModelNotFoundError, PermissionDeniedError
from dmrc.exchange import Operation
from dmrc.gateway.serving.hosted_targets import HostedTargets
from dmrc.gateway.serving.model_names import ModelNames, who
from dmrc.gateway.serving.snapshot import Snapshot, StoreVersions
from dmrc.gateway.serving.targets import Targets, Use
from dmrc.gateway.serving.upstream_keys import UpstreamKeys
from dmrc.project import RECORDED_ENGINE, Merged, ModelDeclaration, ServingOptions, Upstream, own_names
from dmrc.projects import Caller, Registration
from dmrc.scheduler.configuration import Configurations
from dmrc.scheduler.target import Target
from dmrc.store import Named, Store, StoredModel

_MOST_RESOLVED = 1024


@dataclass(frozen=True, slots=True)
class Resolved:
    """A name that was understood."""

    target: Target
    """What to run."""
    model_key: str | None
    """Key in the project's `models:`, where the caller has a project."""


@dataclass(frozen=True, slots=True)
class _Known:
    """One version of the store and the configurations, and what was asked of it so far."""

    snapshot: Snapshot
    """What it says; read in a thread."""
    targets: dict[tuple[Use, Operation | None], asyncio.Task[Target]] = field(default_factory=dict)
    """What to run for whoever asked; read in threads, once for all who ask at the same time."""
    resolved: dict[tuple[int, str, Operation | None], tuple[Caller | None, Resolved]] = field(default_factory=dict)
    """What names meant that were understood: by the caller's identity, which it has for as long as it is here."""

    def remember(self, caller: Caller | None, model: str, operation: Operation | None, resolved: Resolved) -> Resolved:
        """Keep what a name means for a caller; of names that are written in ever new ways no more than some."""
        if len(self.resolved) >= _MOST_RESOLVED:
            self.resolved.clear()
        self.resolved[id(caller), model, operation] = caller, resolved
        return resolved


class Catalog:
    """Names of models, as the daemon's callers may use them. For one event loop, which reads no file but for a `stat`.

    A change of the store, by whatever process, or of the configurations is seen by the next request: it has a new
    snapshot read in a thread. Whoever began before goes on with the former one, and puts nothing old into the new one.
    """

    def __init__(
        self, store: Store, configurations: Configurations, engines: Mapping[str, Engine], default_registry: str
    ) -> None:
        """Read models from the store, and what `dmrc configure` set."""
        self.default_registry = default_registry
        self.upstream_keys = UpstreamKeys()
        self._store = store
        self._configurations = configurations
        self._model_names = ModelNames(default_registry)
        self._targets = Targets(store, engines)
        self._hosted = HostedTargets(engines)
        self._known = _Known(Snapshot(default_registry))
        self._turn = asyncio.Lock()
        self.is_nobody_replayed = False
        """Whether cassettes alone answer the requests of no project, of keys that a person made among them."""

    async def resolved(self, caller: Caller | None, model: str, operation: Operation | None) -> Resolved:
        """Return what to run for `model` as this caller wrote it; without an operation, as what it is for.

        Raises:
            ModelNotFoundError: It is not in the store, and the caller's service does not declare it.
            PermissionDeniedError: It is there, and the caller's service does not declare it.
            InputError: It is not for this operation.
            UpstreamError: An upstream serves it, whose key is not known.
        """
        known = await self._now()
        if (found := known.resolved.get((id(caller), model, operation))) is not None:
            return found[1]
        declaration = None if caller is None else self._declared(caller, model, known.snapshot)
        if self._is_replayed(caller, declaration, operation):
            return Resolved(_recorded_target(model, ServingOptions(engine=RECORDED_ENGINE)), None)
        if caller is None or declaration is None:
            use, key = Use(None, model), None
        else:
            use, key = Use(caller.registration.name, declaration.model, declaration), declaration.key
        resolved = Resolved(await self._target(known, use, operation), key)
        stays = (use, operation) in known.targets
        return known.remember(caller, model, operation, resolved) if stays else resolved

    def _is_replayed(
        self, caller: Caller | None, declaration: ModelDeclaration | None, operation: Operation | None
    ) -> bool:
        """Return whether cassettes alone answer a caller; a declaration of a replayed project says so itself."""
        if caller is None or caller.is_named_key:
            return self.is_nobody_replayed and operation is not None  # models can be looked at, and loaded by hand
        return declaration is None and caller.registration.is_replayed

    async def target(self, use: Use, operation: Operation | None) -> Target:
        """Return what to run; without an operation, for what the model is. It is remembered until something changes.

        Raises:
            ModelNotFoundError: It is not in the store.
            InputError: It is not for this operation.
            UpstreamError: An upstream serves it, whose key is not known.
        """
        return await self._target(await self._now(), use, operation)

    async def _target(self, known: _Known, use: Use, operation: Operation | None) -> Target:
        declaration = use.declaration
        if declaration is not None and declaration.options.upstream is not None:
            return self._upstream_target(use.project or "", declaration, declaration.options.upstream)
        if declaration is not None and not declaration.has_files:
            return _recorded_target(declaration.model, declaration.options)
        if declaration is not None and declaration.options.host is not None:
            return await self._hosted.target(declaration, operation)
        if declaration is not None and declaration.options.paths:  # files change without a word
            return await asyncio.to_thread(self._targets.target, known.snapshot, use, operation)
        asked = (use, operation)
        reading = known.targets.get(asked)
        if reading is None:
            work = asyncio.to_thread(self._targets.target, known.snapshot, use, operation)
            reading = known.targets[asked] = begin(work, "the reading of a model", expected=DmrcError)
        try:
            return await asyncio.shield(reading)
        except Exception:
            known.targets.pop(asked, None)  # what is wrong with a file is put right without a word, too
            raise

    async def now(self) -> Snapshot:
        """Return the store and what is configured, as they are now."""
        return (await self._now()).snapshot

    async def full_name(self, model: str) -> str:
        """Return the full reference of a model of the store, however it is written.

        Raises:
            ModelNotFoundError: It is not in the store.
        """
        snapshot = await self.now()
        return snapshot.full_name(await self._named(snapshot, model), model)

    async def digest(self, model: str) -> str:
        """Return the digest of a model of the store, however it is written.

        Raises:
            ModelNotFoundError: It is not in the store.
        """
        return (await self._named(await self.now(), model)).digest

    def is_name_of(self, name: str, target: Target) -> bool:
        """Return whether a name, however it is written, is that of a target, or its digest."""
        if name in (target.reference, target.digest):
            return True
        parsed = self._model_names.parse(name)
        return parsed is not None and parsed == self._model_names.parse(target.reference)

    async def merged(self, use: Use) -> Merged:
        """Return how a model is to be served, and who says so.

        Raises:
            ModelNotFoundError: It is not in the store.
        """
        return await asyncio.to_thread(self._targets.merged, await self.now(), use)

    async def targets_of(self, registrations: Iterable[Registration], names: Iterable[str] = ()) -> set[str]:
        """Return the keys of all runners that these projects could use, and callers without one that say `names`."""
        operations: tuple[Operation, ...] = ("chat", "embedding", "rerank")
        uses = [Use(None, name) for name in names]
        uses += [Use(known.name, each.model, each) for known in registrations for each in known.models.values()]
        snapshot = await self.now()
        hosted = [each.declaration for each in uses if each.declaration and each.declaration.options.host]
        keys = {found.key for each in hosted for one in operations if (found := self._hosted.known(each, one))}
        others = [each for each in uses if each.declaration is None or each.declaration.options.host is None]
        present = [each for each in others if _has_no_files(each) or snapshot.find(each.model) is not None]
        for use, operation in itertools.product(present, operations):
            with contextlib.suppress(DmrcError):  # what is not for that operation has no runner to name
                keys.add((await self.target(use, operation)).key)
        return keys

    async def names(self, caller: Caller | None) -> list[tuple[str, StoredModel | None]]:
        """Return the names that this caller may use, each with its model; models not in the store are left out.

        The model of an upstream, or of a replay, has a name only, and None for the rest.
        """
        return await asyncio.to_thread(self._names, await self.now(), caller)

    def _names(self, snapshot: Snapshot, caller: Caller | None) -> list[tuple[str, StoredModel | None]]:
        if caller is None:
            return [(tag, model) for model in self._targets.models(snapshot) for tag in model.tags]
        present: dict[str, StoredModel | None] = {}
        for name, declaration in own_names(caller.models.values()).items():
            with contextlib.suppress(DmrcError):  # declared, and removed from the store since
                is_here = declaration.has_files and declaration.options.host is None
                present[name] = self._targets.model(snapshot.get(declaration.model)) if is_here else None
        others = self._names(snapshot, None) if caller.registration.any_model else []
        return [
            *present.items(),
            *(pair for pair in others if not self._model_names.find(caller.models.values(), pair[0])),
        ]

    def _declared(self, caller: Caller, model: str, snapshot: Snapshot) -> ModelDeclaration | None:
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
        of_another_service = self._model_names.find(caller.registration.models.values(), model)
        if of_another_service is not None or snapshot.find(model) is not None:
            raise PermissionDeniedError(f"{who(caller)} may not use model '{model}'", remedy=remedy)
        raise ModelNotFoundError(
            f"model '{model}' is not in the store, and {who(caller)} does not declare it", remedy=remedy
        )

    async def _named(self, snapshot: Snapshot, model: str) -> Named:
        """Return a model of the store; where there is none, a thread looks for what to say."""
        found = snapshot.find(model)
        return await asyncio.to_thread(snapshot.get, model) if found is None else found

    async def _now(self) -> _Known:
        if self._version() != self._known.snapshot.version:
            async with self._turn:  # one reads, and those who wait find it read
                before = self._known.snapshot
                version = self._version()
                if version != before.version:
                    is_stored = version[0] == before.version[0]
                    named = before.named if is_stored else tuple(await asyncio.to_thread(self._store.named))
                    version = (version[0], self._configurations.version)
                    snapshot = Snapshot(self.default_registry, version, named, self._configurations.all())
                    self._targets.keep_only(snapshot)
                    self._known = _Known(snapshot)
        return self._known

    def _version(self) -> StoreVersions:
        return self._store.version(), self._configurations.version

    def _upstream_target(self, project: str, declaration: ModelDeclaration, upstream: Upstream) -> Target:
        return Target(
            reference=declaration.model,
            server="upstream",
            upstream_keys=tuple(self.upstream_keys.of(project, each) for each in upstream.all),
            options=replace(declaration.options, engine=declaration.engine),
        )


def _recorded_target(model: str, options: ServingOptions) -> Target:
    return Target(reference=model, server="upstream", identities=(model,), options=options)


def _has_no_files(use: Use) -> bool:
    return use.declaration is not None and not use.declaration.has_files
