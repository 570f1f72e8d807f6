"""What `dmrc configure` and Docker Model Runner's route for it do, and what they show."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping

from dmrc.engines.choice import engine_of_files
from dmrc.engines.engine import Engine
from dmrc.engines.options_check import CARD_OPTIONS, VLLM_OPTIONS, check_options
from dmrc.errors import DmrcError, ModelNotFoundError
from dmrc.gateway.serving.catalog import Catalog
from dmrc.gateway.serving.targets import Use
from dmrc.project import DEFAULT_ENGINE, OPTIONS, Merged, ServingOptions, merge
from dmrc.projects import Projects
from dmrc.reference import Reference
from dmrc.scheduler.configuration import DEFAULTS, Configurations
from dmrc.scheduler.description import go_duration
from dmrc.scheduler.scheduler import Scheduler

# Docker Model Runner's names, in its `configure show` and in the body of its route.
_NAMES = {
    "context_size": "context-size",
    "runtime_flags": "runtime-flags",
    "keep_alive_seconds": "keep_alive",
    "reasoning_budget": "reasoning-budget",
    "hf_overrides": "hf-overrides",
    "gpu_memory_utilization": "gpu-memory-utilization",
}
_SPECULATIVE = {"draft": "draft_model", "draft_tokens": "num_tokens", "draft_acceptance": "min_acceptance_rate"}
_ELSEWHERE = ("engine", "mode", "reasoning_budget", *_SPECULATIVE, *VLLM_OPTIONS)
_MODES = {"completion": "completion", "embedding": "embedding", "rerank": "reranking"}


class Configurator:
    """Sets how models are served. A runner that nobody can ask for any more ends when it has finished."""

    def __init__(
        self,
        configurations: Configurations,
        catalog: Catalog,
        projects: Projects,
        scheduler: Scheduler,
        engines: Mapping[str, Engine],
    ) -> None:
        """Join what is set with what it is about."""
        self._configurations = configurations
        self._catalog = catalog
        self._projects = projects
        self._scheduler = scheduler
        self._engines = engines

    async def configure(
        self, model: str, project: str | None, options: ServingOptions, *, replace: bool = False
    ) -> None:
        """Set some fields for a model, in one project or for all.

        With `replace` that is all that is set for it, and it need not be in the store yet: Docker Model Runner's way.

        New requests get a runner with the new configuration at once, or as soon as the memory allows it; the one with
        the old configuration serves those that it has, and those who wait for it already.

        Raises:
            ModelNotFoundError: It is not in the store.
            InputError: The engine is unknown, serves no files, or refuses the flags.
        """
        name = await self._name(model) if replace else await self._catalog.full_name(model)
        if options.draft is not None:
            options = dataclasses.replace(options, draft=await self._name(options.draft))
        before_it = ServingOptions() if replace else self._configurations.of(project, name)
        special = {each: value for each in VLLM_OPTIONS if (value := getattr(options, each)) is not None}
        engine = options.engine or before_it.engine or await self._engine(project, name, frozenset(special))
        cards = {each: getattr(options, each) for each in CARD_OPTIONS}
        checked = ServingOptions(engine=engine, runtime_flags=options.runtime_flags, **special, **cards)
        check_options(engine_of_files(self._engines, engine), checked)
        before = await self._keys(name)
        self._configurations.set(project, name, options, replace=replace)
        self._scheduler.release(before - await self._keys(name))

    async def reset(self, model: str, project: str | None) -> bool:
        """Forget what was set for a model, in one project or for all; return whether there was anything."""
        name = await self._name(model)
        before = await self._keys(name)
        known = self._configurations.remove(project, name)
        self._scheduler.release(before - await self._keys(name))
        return known

    async def show(self, model: str | None) -> list[dict[str, object]]:
        """Return how models are served, and who says so: one, or all that are configured or declared.

        Shape: `[{"Backend": "llama.cpp", "Model": "docker.io/ai/x:latest", "ModelID": "sha256:…", "Mode": "completion",
        "Config": {"context-size": 2048, "keep_alive": "5m0s"}, "Project": "shop", "Origin": {"context-size": "compose",
        "keep_alive": "default"}}]`: Docker Model Runner's, with the last two added.
        Source: https://github.com/docker/model-runner/blob/main/pkg/inference/scheduling/api.go (`ModelConfigEntry`)

        Raises:
            ModelNotFoundError: It is not in the store.
        """
        wanted = None if model is None else await self._catalog.full_name(model)
        entries = []
        for use in await self._uses(wanted):
            try:
                entries.append(await self._entry(use))
            except ModelNotFoundError:
                if (use.project, use.model) in self._configurations.all():
                    entries.append(self._waiting(use))
            except DmrcError:
                continue  # declared with something that is not there
        return entries

    async def _uses(self, wanted: str | None) -> list[Use]:
        found: dict[tuple[str | None, str], Use] = {}
        if wanted is not None:
            found[None, wanted] = Use(None, wanted, None)
        for known in self._projects.all():
            for declaration in known.models.values():
                try:
                    name = await self._catalog.full_name(declaration.model)
                except DmrcError:
                    continue  # declared, and removed from the store since
                found[known.name, name] = Use(known.name, declaration.model, declaration)
        for project, name in self._configurations.all():
            found.setdefault((project, name), Use(project, name, None))
        return [use for (_, name), use in found.items() if wanted in (None, name)]

    async def _entry(self, use: Use) -> dict[str, object]:
        merged = await self._catalog.merged(use)
        target = await self._catalog.target(use, None)
        return {
            "Backend": target.engine,
            "Model": target.reference,
            "ModelID": target.digest,
            "Mode": _MODES[target.mode],
            **_described(merged, target.keep_alive_seconds),
            "Project": use.project,
        }

    def _waiting(self, use: Use) -> dict[str, object]:
        """Return what was set for a model that is not in the store yet."""
        merged = merge((("command line", self._configurations.of(use.project, use.model)), ("default", DEFAULTS)))
        options = merged.options
        return {
            "Backend": options.engine,
            "Model": use.model,
            "ModelID": "",
            "Mode": _MODES[options.mode or "completion"],
            **_described(merged, options.keep_alive_seconds or 0),
            "Project": use.project,
        }

    async def _engine(self, project: str | None, name: str, special: frozenset[str]) -> str:
        """Return the engine of a model for which none is named: the one of its format, if it is in the store."""
        try:
            return (await self._catalog.target(Use(project, name, None), None)).engine
        except DmrcError:
            knows = (each.name for each in self._engines.values() if special and special <= each.special_options)
            return next(knows, DEFAULT_ENGINE)

    async def _name(self, model: str) -> str:
        """Return the full reference of a model, whether it is in the store or not."""
        try:
            return await self._catalog.full_name(model)
        except ModelNotFoundError:
            return str(Reference.parse(model, default_registry=self._catalog.default_registry))

    async def _keys(self, name: str) -> set[str]:
        return await self._catalog.targets_of(self._projects.all(), (name,))


def _is_told(name: str) -> bool:
    """Return whether Docker Model Runner has a word for an option: it has none for files of a project."""
    return name in _SPECULATIVE or not (name == "upstream" or OPTIONS[name].file)


def _described(merged: Merged, keep_alive_seconds: float) -> dict[str, object]:
    """Return what holds for a model, in Docker Model Runner's names, and who says each value."""
    said = {name: value for name, value in merged.options.said().items() if _is_told(name)}
    said["keep_alive_seconds"] = go_duration(keep_alive_seconds)
    config = {_NAMES.get(name, name): value for name, value in said.items() if name not in _ELSEWHERE}
    if "reasoning_budget" in said:
        config["llamacpp"] = {"reasoning-budget": said["reasoning_budget"]}
    if "hf_overrides" in said:
        said["hf_overrides"] = json.loads(said["hf_overrides"])
    if special := {_NAMES[name]: said[name] for name in VLLM_OPTIONS if name in said}:
        config["vllm"] = special
    if speculative := {new: said[name] for name, new in _SPECULATIVE.items() if name in said}:
        config["speculative"] = speculative
    return {
        "Config": config,
        "Origin": {(_NAMES | _SPECULATIVE).get(name, name): merged.origins[name] for name in said},
    }
