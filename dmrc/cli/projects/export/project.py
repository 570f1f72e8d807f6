"""Reads a project for the cluster: its models with their engines, its services, and its keys."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from dmrc.cli.app import App
from dmrc.cli.progress import note
from dmrc.cli.projects.export.models import served_models
from dmrc.cli.projects.setup.injection import load_plugins, with_plugins
from dmrc.cli.projects.setup.read_project import read_project, upstream_keys
from dmrc.cli.projects.setup.service_keys import stable_keys
from dmrc.compose.command import Compose, ComposeOptions
from dmrc.errors import ProjectError
from dmrc.fields import mapping
from dmrc.kubernetes import names
from dmrc.kubernetes.choices import Choices
from dmrc.kubernetes.export import Export
from dmrc.kubernetes.folder import keys_in
from dmrc.kubernetes.gateway import PORT
from dmrc.kubernetes.served import ServedModel
from dmrc.kubernetes.services import Written
from dmrc.project import Access, Injection, ModelDeclaration, Project, ServingOptions, Upstream, inject
from dmrc.projects import Registration
from dmrc.projects.registration import key_hash
from dmrc.suggestions import did_you_mean


def export_project(app: App, options: ComposeOptions, directory: Path, choices: Choices) -> Export:
    """Return the project for the cluster. Keys that `directory` has stay; others are those of the last export here.

    Raises:
        ProjectError: It cannot be read, or declares something impossible.
        DockerError: There is no Compose, which alone reads all of a service.
        ModelNotFoundError: A model is not in the store.
        UnsupportedError: A model cannot be served in a cluster as it is declared.
    """
    written = read_project(app, options, compose=Compose(os.environ))
    project = replace(written, models={key: _for_cluster(model) for key, model in written.models.items()})
    if unknown := choices.replicas.keys() - project.models.keys():
        name = min(unknown)
        raise ProjectError(f"--replicas: there is no model '{name}'{did_you_mean(name, project.models)}")
    models = served_models(app, project, choices)
    keys = _keys(app, project, models, directory)
    elsewhere = [model for model in project.models.values() if model.options.upstream]
    registration = _registration(project, models, keys)
    return Export(
        project=project.name,
        registration=registration,
        models=models,
        services=_services(
            app, project, mapping(Compose(os.environ).config(options).get("services"), "services"), keys
        ),
        keys=keys,
        upstream_keys=upstream_keys(project, elsewhere, options, os.environ),
        secrets=project.secrets,
        choices=choices,
        notes=_notes(written),
    )


def _for_cluster(model: ModelDeclaration) -> ModelDeclaration:
    """Return a model without the machine that serves it now."""
    return replace(model, options=replace(model.options, host=None))


def _keys(app: App, project: Project, models: list[ServedModel], directory: Path) -> dict[str, str]:
    """Return a key for each service and each engine: others than on this machine, which `dmrc down` ends."""
    wanted = [f"service/{service.name}" for service in project.consumers]
    wanted += [f"engine/{model.name}" for model in models]
    written = keys_in(directory)
    if missing := [each for each in wanted if each not in written]:
        written |= stable_keys(app, f".kubernetes-{project.name}", missing)
    return {each: written[each] for each in wanted}


def _registration(project: Project, models: list[ServedModel], keys: Mapping[str, str]) -> str:
    """Return what the gateway is told: its models are the cluster's Services, and of keys it has the hashes."""
    served = {key: model for model in models for key in model.keys}
    declarations = {
        key: _as_upstream(declaration, served[key]) if key in served else declaration
        for key, declaration in project.models.items()
    }
    of_services = {service.name: keys[f"service/{service.name}"] for service in project.consumers}
    there = replace(
        project, models=declarations, directory=Path("/"), plugins=(), auth="key", any_model=False, files=()
    )
    document = json.loads(replace(Registration.of(there, of_services, None), used_at=0.0).to_json())
    return json.dumps(document, indent=2, sort_keys=True) + "\n"


def _as_upstream(declaration: ModelDeclaration, model: ServedModel) -> ModelDeclaration:
    """Return a model as the gateway in the cluster has it: another server's, with as many slots as its Pods have."""
    upstream = Upstream(
        url=f"http://{model.name}:{names.PORT}/v1",
        model=model.launch.name,
        key=names.key_variable(model.name),
    )
    parallel = model.launch.parallel * model.replicas.max
    options = ServingOptions(upstream=upstream, parallel=parallel, keep_alive_seconds=None)
    return replace(declaration, model=declaration.name, options=options)


def _services(app: App, project: Project, fields: Mapping[str, object], keys: Mapping[str, str]) -> list[Written]:
    """Return the services that are containers, those that dmrc is asked to know among them."""
    injected = _injected(app, project, keys)
    written = []
    for name, service in project.services.items():
        if service.provides:
            continue
        key = keys.get(f"service/{name}")
        given = injected.get(name)
        written.append(
            Written(
                project=project.name,
                service=service,
                fields=mapping(fields.get(name), f"services.{name}"),
                injected=given.variables if given else {},
                key_id=key_hash(key)[:12] if key else None,
            )
        )
    return written


def _injected(app: App, project: Project, keys: Mapping[str, str]) -> dict[str, Injection]:
    for plugin in load_plugins(app, project):
        if plugin.state == "failed":
            note(f"plugin {plugin.identity.origin} is skipped: {plugin.reason}")
    found = {
        service.name: inject(
            project,
            service,
            Access(host=names.GATEWAY, port=PORT, key=keys[f"service/{service.name}"], names=(names.GATEWAY,)),
        )
        for service in project.consumers
    }
    return with_plugins(app, project, found)


def _notes(project: Project) -> tuple[str, ...]:
    """Return a line for what of the project as a whole stays here."""
    lines = []
    if project.auth == "address":
        lines.append(
            "x-dmrc.auth: address: in a cluster nobody is known by an address; services without models: use none"
        )
    lines += [
        f"models.{model.key}: the cluster serves it, and not {model.options.host}"
        for model in project.models.values()
        if model.options.host
    ]
    if project.plugins:
        lines.append("x-dmrc.plugins: the gateway loads those that are in its image")
    return tuple(lines)
