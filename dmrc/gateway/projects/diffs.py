"""What `dmrc diff` asks with while it runs: models with other options, and a key for them. In memory only."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from dmrc.capture.secrets import KnownSecrets
from dmrc.errors import InputError, ModelNotFoundError
from dmrc.exchange import DIFF_SCOPE
from dmrc.gateway.serving.catalog import Catalog
from dmrc.gateway.serving.targets import Use
from dmrc.project import OPTIONS, RECORDED_ENGINE, ModelDeclaration, ServingOptions
from dmrc.projects import WHOLE_PROJECT, Caller, Projects, Registration
from dmrc.scheduler.scheduler import Scheduler

# What says how the application talks to its model, whichever that is; the rest is of one model.
_OF_ANY_MODEL = ("context_size", "parallel", "keep_alive_seconds", "reasoning_budget")
_SAID = ("compose", "command line")


@dataclass(frozen=True, slots=True, kw_only=True)
class DiffSource:
    """A model that answered recorded requests."""

    project: str | None
    """Compose project of those requests."""
    model_key: str | None
    """Its key there."""
    reference: str
    """Its full reference."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DiffWish:
    """What is to answer now."""

    name: str
    """Of what the requests are: a project, mostly."""
    key_sha256: str
    """Of the key that will be sent, in hex."""
    sources: tuple[DiffSource, ...]
    """What answered then."""
    model: str | None = None
    """What answers in its place; None: the same."""
    options: ServingOptions = field(default_factory=ServingOptions)
    """What is different; flags are added to those that there are."""
    upstream_keys: Mapping[str, str] = field(default_factory=dict, repr=False)
    """Key of its upstream, by the variable that holds it."""


@dataclass(frozen=True, slots=True)
class Diff:
    """One run of `dmrc diff`."""

    registration: Registration
    """Its models and its key."""
    models: tuple[ModelDeclaration, ...]
    """For each source what answers now."""
    are_known: tuple[bool, ...]
    """For each source whether it is known how it was served: its project is up with a model, or it has none."""
    present: frozenset[str]
    """Runners that there were before; these stay."""


class Diffs:
    """Those that run now. For one event loop; they end with the daemon, whatever becomes of it."""

    def __init__(self, projects: Projects, catalog: Catalog, scheduler: Scheduler, secrets: KnownSecrets) -> None:
        """Look up there how models are served; nothing is left of those of an earlier daemon."""
        self._projects = projects
        self._catalog = catalog
        self._scheduler = scheduler
        self._secrets = secrets
        self._open: dict[str, Diff] = {}
        self._callers: dict[str, Caller] = {}
        secrets.forget_all(DIFF_SCOPE)

    def caller(self, sha256: str) -> Caller | None:
        """Return whose key has this hash."""
        return self._callers.get(sha256)

    def find(self, name: str) -> Registration | None:
        """Return what one of them may use; None where there is none of this name."""
        found = self._open.get(name)
        return None if found is None else found.registration

    async def begin(self, wish: DiffWish) -> Diff:
        """Make a key valid that opens what is wished, and nothing else; to be ended by `end`.

        Raises:
            InputError: It cannot be served so.
        """
        known = [self._registered(source) for source in wish.sources]
        declared: dict[str, ModelDeclaration] = {}
        models = [_added(declared, await self._declaration(source, wish)) for source in wish.sources]
        name = self._free_name(wish.name)
        registration = Registration(
            name=name,
            directory="/",
            capture="full",
            models=declared,
            services={WHOLE_PROJECT: tuple(declared)},
            key_hashes={WHOLE_PROJECT: wish.key_sha256},
        )
        keys = {**self._keys_of(wish.sources), **wish.upstream_keys}
        self._secrets.remember(name, keys.values())
        self._catalog.upstream_keys.put(name, keys)
        are_known = tuple(
            one is not None or source.project is None for one, source in zip(known, wish.sources, strict=True)
        )
        present = frozenset(runner.key for runner in self._scheduler.runners())
        diff = self._open[name] = Diff(registration, tuple(models), are_known, present)
        self._callers[wish.key_sha256] = Caller(wish.key_sha256[:12], None, registration)
        return diff

    async def load(self, diff: Diff, key: str) -> None:
        """Load one of its models; raises as `Scheduler.load` does."""
        declared = diff.registration.models[key]
        use = Use(diff.registration.name, declared.model, declared)
        await self._scheduler.load(await self._catalog.target(use, None))

    async def end(self, diff: Diff) -> None:
        """Let go of its key, its secrets, and the runners that only it used."""
        registration = diff.registration
        del self._open[registration.name]
        del self._callers[registration.key_hashes[WHOLE_PROJECT]]
        used = await self._catalog.targets_of([registration])
        # What is read for the others now is at hand below: nobody may come between the list and its use.
        await self._catalog.targets_of(self._others())
        self._scheduler.release(used - await self._catalog.targets_of(self._others()) - diff.present)
        if registration.name not in self._open:
            self._catalog.upstream_keys.forget(registration.name)
            self._secrets.forget(registration.name)

    def _others(self) -> list[Registration]:
        """Return all who may use a runner: projects, and the other ones of these."""
        return [*self._projects.all(), *(one.registration for one in self._open.values())]

    def _free_name(self, name: str) -> str:
        first = DIFF_SCOPE + name
        others = (f"{first}.{number}" for number in itertools.count(2))
        return next(one for one in itertools.chain([first], others) if one not in self._open)

    def _registered(self, source: DiffSource) -> ModelDeclaration | None:
        """Return how the project of a source declares it; None where nobody says."""
        known = self._projects.find(source.project)
        found = None if known is None else known.models.get(source.model_key or "")
        return None if found is None or found.options.engine == RECORDED_ENGINE else found

    def _keys_of(self, sources: tuple[DiffSource, ...]) -> dict[str, str]:
        """Return the keys of upstreams that the projects of the sources have."""
        projects = {source.project for source in sources if source.project is not None}
        return {name: key for one in projects for name, key in self._catalog.upstream_keys.all_of(one).items()}

    async def _declaration(self, source: DiffSource, wish: DiffWish) -> ModelDeclaration:
        """Return what answers in the place of a source."""
        change = wish.options
        if wish.model is not None and (change.upstream is not None or change.host is not None):
            return ModelDeclaration(key=wish.model, model=wish.model, options=change)
        before = self._registered(source)
        before = before or ModelDeclaration(key=source.model_key or source.reference, model=source.reference)
        options = await self._said(source, before)
        if wish.model is not None:
            names = _OF_ANY_MODEL if options.engine or change.engine else (*_OF_ANY_MODEL, "runtime_flags")
            options = ServingOptions(**{name: getattr(options, name) for name in names})
            before = ModelDeclaration(key=wish.model, model=wish.model)
        local = [OPTIONS[name].written for name in change.said() if OPTIONS[name].is_local]
        if options.upstream is not None and local:
            raise InputError(
                f"model '{source.reference}' is served by an upstream, which decides on {local[0]} itself",
                remedy="Leave it out, or choose requests of another model: --model-key",
            )
        flags = (*(options.runtime_flags or ()), *(change.runtime_flags or ()))
        return replace(before, options=replace(change.over(options), runtime_flags=flags or None))

    async def _said(self, source: DiffSource, before: ModelDeclaration) -> ServingOptions:
        """Return what somebody has said of how a model is served, in its project or by `dmrc configure`."""
        if before.options.upstream is not None or before.options.host is not None:
            return before.options
        try:
            merged = await self._catalog.merged(Use(source.project, before.model, before))
        except ModelNotFoundError:  # it need not be here where another one answers; else its load says so
            return before.options
        said = {name: value for name, value in merged.options.said().items() if merged.origins[name] in _SAID}
        return ServingOptions(**said)


def _added(declared: dict[str, ModelDeclaration], wanted: ModelDeclaration) -> ModelDeclaration:
    """Add a declaration, under a key of its own where that name is taken by another; return it as it is there."""
    for number in itertools.count(1):
        key = wanted.key if number == 1 else f"{wanted.key}-{number}"
        one = replace(wanted, key=key)
        if declared.setdefault(key, one) == one:
            return one
    raise AssertionError
