"""What is to answer in one column of a comparison, and how the daemon is asked for it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from dmrc.capture.summary import model_name
from dmrc.comparison.changes import Answerer, Changes, name_of
from dmrc.errors import InputError, NotFoundError
from dmrc.gateway.projects.diffs import DiffSource, DiffWish
from dmrc.gateway.serving.catalog import Catalog
from dmrc.project import ModelDeclaration
from dmrc.projects import Projects


@dataclass(frozen=True, slots=True)
class ComparisonTarget:
    """A model with what is different."""

    changes: Changes
    """What is different from then."""
    project: str | None = None
    """Project that declares the model; None: it is one of the store, or the one of then."""
    declared: ModelDeclaration | None = None
    """How that declares it: it is at an upstream, or on another machine."""
    upstream_keys: Mapping[str, str] = field(default_factory=dict, repr=False)
    """Keys of its upstream, by the variables that hold them."""

    @property
    def label(self) -> str:
        """Return it in words: `ai/smollm2:360M, temperature 0.2`."""
        if self.changes == Changes():
            return "The same again"
        if self.changes.model is None:
            return f"Same model, {self.changes.words()}"
        name = model_name(self.changes.model) if self.declared is None else f"{self.changes.model} ({self.project})"
        return replace(self.changes, model=name).words()

    def wish(self, sources: Sequence[Answerer], key_sha256: str) -> DiffWish:
        """Return what the daemon is asked for, with the key that will be sent.

        Raises:
            InputError: A flag cannot be read.
        """
        options = self.changes.options(sources)
        if self.declared is not None:
            own = self.declared.options
            flags = (*(own.runtime_flags or ()), *(options.runtime_flags or ()))
            options = replace(options.over(own), runtime_flags=flags or None)
        return DiffWish(
            name=name_of(sources),
            key_sha256=key_sha256,
            sources=tuple(DiffSource(project=one, model_key=key, reference=name) for one, key, name in sources),
            model=self.changes.model,
            options=options,
            upstream_keys=self.upstream_keys,
        )


def elsewhere(projects: Projects) -> list[tuple[str, ModelDeclaration]]:
    """Return the models that projects declare at upstreams and on other machines, each with its project."""
    return [
        (known.name, declared)
        for known in projects.all()
        for declared in known.models.values()
        if declared.options.upstream is not None or declared.options.host is not None
    ]


async def target_of(changes: Changes, project: str | None, catalog: Catalog, projects: Projects) -> ComparisonTarget:
    """Return what answers; `project` declares `changes.model` under that key, None: it is of the store.

    Raises:
        NotFoundError: There is no such model.
        InputError: A flag cannot be read, or an upstream is to have options that it decides on itself.
    """
    changes.options(())
    if project is None:
        if changes.model is not None:
            await catalog.full_name(changes.model)
        return ComparisonTarget(changes)
    found = next(
        (one for name, one in elsewhere(projects) if (name, one.key) == (project, changes.model)),
        None,
    )
    if found is None:
        raise NotFoundError(
            f"project '{project}' declares no model '{changes.model}' elsewhere", remedy="Reload the page"
        )
    if found.options.upstream is not None and (changes.context_size or changes.flags):
        raise InputError(
            f"model '{found.key}' is served by an upstream, which decides on context and flags itself",
            remedy="Leave both empty",
        )
    keys = catalog.upstream_keys.all_of(project)
    return ComparisonTarget(replace(changes, model=found.model), project, found, keys)
