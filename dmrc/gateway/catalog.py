"""Which model does a caller mean: from a name in a request to a target that the scheduler can run."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from dmrc.engines.engine import Mode, RunnerConfiguration
from dmrc.engines.flags import mode as declared_mode
from dmrc.errors import DmrcError, InvalidReferenceError, PermissionDeniedError
from dmrc.exchange import Operation
from dmrc.gguf import GgufFacts
from dmrc.project import DEFAULT_ENGINE, ModelDeclaration
from dmrc.projects import Caller, Projects, Registration
from dmrc.reference import Reference
from dmrc.scheduler.target import DEFAULT_KEEP_ALIVE_SECONDS, Target
from dmrc.store import Store, StoredModel


@dataclass(frozen=True, slots=True)
class Resolved:
    """A name that was understood."""

    target: Target
    """What to run."""
    model_key: str | None
    """Key in the project's `models:`, where the caller has a project."""


class Catalog:
    """Names of models, as the daemon's callers may use them."""

    def __init__(self, store: Store, projects: Projects, default_registry: str) -> None:
        """Read models from the store, and declarations from the projects."""
        self._store = store
        self._projects = projects
        self._default_registry = default_registry
        self._facts: dict[str, GgufFacts] = {}
        self._models: dict[str, StoredModel] = {}
        self._models_as_of: tuple[int, int] | None = None

    def resolve(self, caller: Caller | None, model: str, operation: Operation) -> Resolved:
        """Return what to run for `model` as this caller wrote it.

        Raises:
            ModelNotFoundError: It is not in the store.
            PermissionDeniedError: The caller's service does not declare it.
        """
        if caller is None:
            return Resolved(self._target(model, None, operation), None)
        declaration = self._declared(caller, model)
        return Resolved(self._target(declaration.model, declaration, operation), declaration.key)

    def declared_target(self, declaration: ModelDeclaration) -> Target:
        """Return what a project's model runs as, in its own mode."""
        return self._target(declaration.model, declaration, None)

    def targets_of(self, registrations: Iterable[Registration]) -> set[str]:
        """Return the keys of all runners that these projects could use."""
        operations: tuple[Operation, ...] = ("chat", "embedding", "rerank")
        keys: set[str] = set()
        for registration in registrations:
            for declaration in registration.models.values():
                try:
                    keys.update(self._target(declaration.model, declaration, each).key for each in operations)
                except DmrcError:
                    continue  # a model that was removed from the store has no runner to name
        return keys

    def names(self, caller: Caller | None) -> list[tuple[str, StoredModel]]:
        """Return the names that this caller may use, each with its model; models not in the store are left out."""
        if caller is None:
            return [(tag, model) for model in self._store.models() for tag in model.tags]
        present = []
        for declaration in caller.models.values():
            try:
                present.append((declaration.model, self._stored(declaration.model)))
            except DmrcError:
                continue  # declared, and removed from the store since
        return present

    def _declared(self, caller: Caller, model: str) -> ModelDeclaration:
        for declaration in caller.models.values():
            if model in (declaration.model, declaration.key):
                return declaration
        wanted = self._parsed(model)
        for declaration in caller.models.values():
            if wanted is not None and wanted == self._parsed(declaration.model):
                return declaration
        allowed = ", ".join(f"'{declaration.model}'" for declaration in caller.models.values())
        raise PermissionDeniedError(
            f"{_who(caller)} may not use model '{model}'",
            remedy=f"It declares {allowed or 'none'}; add others under its 'models:'",
        )

    def _parsed(self, model: str) -> Reference | None:
        try:
            return Reference.parse(model, default_registry=self._default_registry)
        except InvalidReferenceError:
            return None

    def _full_name(self, stored: StoredModel, model: str) -> str:
        """Return the tag that a caller means: one model may have several."""
        name = str(self._parsed(model))
        return name if name in stored.tags else next(iter(stored.tags), stored.digest)

    def _stored(self, model: str) -> StoredModel:
        """Return a model of the store; remembered until the store's index changes."""
        status = (self._store.root / "index.json").stat() if (self._store.root / "index.json").exists() else None
        as_of = None if status is None else (status.st_mtime_ns, status.st_ino)
        if as_of is None or as_of != self._models_as_of:
            self._models.clear()
            self._models_as_of = as_of
        if model not in self._models:
            self._models[model] = self._store.resolve(model, self._default_registry)
        return self._models[model]

    def _target(self, model: str, declaration: ModelDeclaration | None, operation: Operation | None) -> Target:
        stored = self._stored(model)
        files = self._store.files(stored)
        if stored.digest not in self._facts:
            self._facts[stored.digest] = self._store.facts(stored)
        facts = self._facts[stored.digest]
        keep_alive = declaration.keep_alive_seconds if declaration else None
        return Target(
            reference=self._full_name(stored, model),
            digest=stored.digest,
            gguf=Path(files.gguf),
            mmproj=files.mmproj,
            chat_template=files.chat_template,
            facts=facts,
            configuration=_configuration(stored, facts, declaration, operation),
            keep_alive_seconds=DEFAULT_KEEP_ALIVE_SECONDS if keep_alive is None else keep_alive,
        )


def _who(caller: Caller) -> str:
    project = f"project '{caller.registration.name}'"
    return f"service '{caller.service}' of {project}" if caller.service else project


def _configuration(
    stored: StoredModel, facts: GgufFacts, declaration: ModelDeclaration | None, operation: Operation | None
) -> RunnerConfiguration:
    context_size = declaration.context_size if declaration else None
    flags = declaration.runtime_flags if declaration else ()
    mode = _mode(facts, operation, flags)
    if mode == "embedding" and not facts.pooling_type and "--pooling" not in flags:
        # A model that was not made for embeddings gives one for each token; clients want one for each text.
        flags = ("--pooling", "mean", *flags)
    return RunnerConfiguration(
        engine=declaration.engine if declaration else DEFAULT_ENGINE,
        mode=mode,
        context_size=context_size or stored.config.context_size,
        parallel=declaration.parallel if declaration else None,
        runtime_flags=flags,
    )


def _mode(facts: GgufFacts, operation: Operation | None, flags: Sequence[str]) -> Mode:
    """Return how the engine must run for an operation; None asks for what the model is for."""
    if operation is None:
        own: Mode = "embedding" if facts.pooling_type else "completion"
        return declared_mode(flags) or own
    if operation in ("embedding", "rerank"):
        return operation
    return "completion"
