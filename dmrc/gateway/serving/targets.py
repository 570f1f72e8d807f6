"""What to run for a model of the store: from its name and who asks to a target that the scheduler can run."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from dataclasses import dataclass, replace

from dmrc.engines.choice import engine_for
from dmrc.engines.engine import Engine
from dmrc.engines.local_model import LocalModel
from dmrc.errors import DmrcError
from dmrc.exchange import Operation
from dmrc.gateway.serving.companion_files import CompanionFinder, ConfiguredDraft
from dmrc.gateway.serving.snapshot import Snapshot
from dmrc.gguf import GgufFacts
from dmrc.models.description import trained_context
from dmrc.project import Merged, ModelDeclaration, ServingOptions, merge
from dmrc.scheduler.configuration import DEFAULTS, configured_in
from dmrc.scheduler.target import Target
from dmrc.store import Named, Store, StoredModel


@dataclass(frozen=True, slots=True)
class Use:
    """One way in which a model may be asked for."""

    project: str | None
    """Of the declaration."""
    model: str
    """Its name, as it is written."""
    declaration: ModelDeclaration | None = None
    """How the project wants it; None for whoever asks without one."""


class Targets:
    """Reads what a snapshot does not hold. Methods block; threads may use it at the same time.

    A manifest and the header of a model's file say the same for as long as their digest does: each is read once. A
    header can hold hundreds of thousands of words, which takes a quarter of a second.
    """

    def __init__(self, store: Store, engines: Mapping[str, Engine]) -> None:
        """Read models of `store` for `engines`."""
        self._store = store
        self._engines = engines
        self._companions = CompanionFinder(store)
        self._models: dict[Named, StoredModel] = {}
        self._facts: dict[str, GgufFacts | None] = {}

    def keep_only(self, snapshot: Snapshot) -> None:
        """Forget models that the store has no more."""
        named, digests = set(snapshot.named), {each.digest for each in snapshot.named}
        self._models = {each: model for each, model in self._models.items() if each in named}
        self._facts = {digest: facts for digest, facts in self._facts.items() if digest in digests}

    def model(self, named: Named) -> StoredModel:
        """Return a model of the store.

        Raises:
            BlobMissingError: Its manifest or config is missing or damaged.
            ArtifactError: It is no model.
        """
        models = self._models
        if named not in models:
            models[named] = self._store.read(named)
        return models[named]

    def models(self, snapshot: Snapshot) -> list[StoredModel]:
        """Return all that are whole."""
        found = []
        for named in snapshot.named:
            with contextlib.suppress(DmrcError):
                found.append(self.model(named))
        return found

    def merged(self, snapshot: Snapshot, use: Use) -> Merged:
        """Return how a model is to be served, and who says so.

        Raises:
            ModelNotFoundError: It is not in the store.
        """
        named = snapshot.get(use.model)
        configured = configured_in(snapshot.configured, use.project, snapshot.full_name(named, use.model))
        return merge(
            (
                ("compose", ServingOptions() if use.declaration is None else use.declaration.options),
                ("command line", configured),
                ("package", ServingOptions(context_size=self.model(named).config.context_size)),
                ("default", DEFAULTS),
            )
        )

    def target(self, snapshot: Snapshot, use: Use, operation: Operation | None) -> Target:
        """Return what to run; without an operation, for what the model is.

        Raises:
            ModelNotFoundError: It is not in the store.
            InputError: It is not for this operation, or a file that the project names cannot be read.
        """
        named = snapshot.get(use.model)
        stored = self.model(named)
        files = self._store.files(stored)
        merged = self.merged(snapshot, use)
        options = merged.options
        name = snapshot.full_name(named, use.model)
        draft = _draft(snapshot, use.project, name, options.draft)
        beside = self._companions.beside(files, use.declaration, draft, lambda other: self.model(snapshot.get(other)))
        local = LocalModel(
            path=files.path,
            format=files.format,
            facts=self._facts_of(named),
            trained_context=trained_context(stored),
            companions=beside.companions,
            chat_template=beside.chat_template,
            template=beside.template,
        )
        named_engine = None if merged.origins["engine"] == "default" else options.engine
        engine = engine_for(self._engines, named_engine, local.format, use.model)
        settled = engine.settle(use.model, local, replace(options, engine=engine.name), operation)
        return Target(
            reference=name,
            server=engine.server_of(settled),
            digest=named.digest,
            model=local,
            template=engine.template(local, settled),
            identities=beside.identities,
            options=settled,
        )

    def _facts_of(self, named: Named) -> GgufFacts | None:
        facts = self._facts
        if named.digest not in facts:
            facts[named.digest] = self._store.facts(self.model(named))
        return facts[named.digest]


def _draft(snapshot: Snapshot, project: str | None, name: str, draft: str | None) -> ConfiguredDraft | None:
    """Return the draft that is set for a model, with where it was set."""
    if draft is None:
        return None
    own = snapshot.configured.get((project, name), ServingOptions())
    return ConfiguredDraft(draft, name, project if own.draft else None)
