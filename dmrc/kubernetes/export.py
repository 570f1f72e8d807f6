"""The whole folder of one project: which file holds what."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from dmrc.fields import JsonObject
from dmrc.kubernetes import names
from dmrc.kubernetes.arguments import image_of
from dmrc.kubernetes.choices import Choices
from dmrc.kubernetes.engines import engine_documents, engine_policy
from dmrc.kubernetes.folder import KEYS, SECRETS, ManifestFile, kustomization, yaml_file
from dmrc.kubernetes.gateway import gateway_documents, secret
from dmrc.kubernetes.overlays import overlay_files
from dmrc.kubernetes.served import ServedModel
from dmrc.kubernetes.services import Converted, Written, caller_patch, check_names, convert


@dataclass(frozen=True, slots=True, kw_only=True)
class Export:
    """A project on its way into the cluster."""

    project: str
    """Name of the project."""
    registration: str
    """JSON of what the gateway is told of it."""
    models: Sequence[ServedModel]
    """Models that the cluster serves."""
    services: Sequence[Written]
    """Compose services that are containers."""
    keys: Mapping[str, str] = field(repr=False)
    """Keys of services and engines, by what they are for: `service/web`, `engine/dmrc-model-llm`."""
    upstream_keys: Mapping[str, str] = field(default_factory=dict, repr=False)
    """Keys of upstreams elsewhere, by their variables."""
    secrets: Sequence[str] = field(default=(), repr=False)
    """Values of the project that must not be recorded."""
    choices: Choices
    """How."""
    notes: tuple[str, ...] = ()
    """A line for each thing that a person should know of it."""


@dataclass(frozen=True, slots=True)
class Folder:
    """What an export makes."""

    files: tuple[ManifestFile, ...]
    """Its files."""
    left_out: tuple[str, ...]
    """A line for each thing of the compose file that is not in it."""
    notes: tuple[str, ...] = ()
    """A line for each thing that a person should know of it."""


def exported(export: Export) -> Folder:
    """Return the folder of a project. The same project, with the same keys, is the same bytes.

    Raises:
        UnsupportedError: A model cannot be served in a cluster as it is declared; it is named.
        ProjectError: Two things would have one name.
    """
    check_names(
        {each.service.name: each.name for each in export.services},
        {each.declaration.key: each.name for each in export.models},
    )
    converted = {each.service.name: convert(each) for each in export.services}
    left_out = tuple(line for each in converted.values() for line in each.left_out)
    files = [*_models(export), *_gateway(export), *_services(export, converted), *_secrets(export, converted)]
    resources = sorted(each.name.removeprefix("base/") for each in files if each.name.endswith(".yaml"))
    notes = (*export.notes, *_images_to_push(export), *_pins(export))
    comments = [*notes, *(f"Not converted: {line}" for line in left_out)]
    files.append(kustomization(resources, comments))
    files += _component(export, converted)
    files += overlay_files(export.project, export.models, export.choices)
    files.append(ManifestFile(".gitignore", f"# Keys of services, of engines and of upstreams.\n/{SECRETS}/\n"))
    return Folder(tuple(files), left_out, notes)


def _models(export: Export) -> list[ManifestFile]:
    files = [
        yaml_file(f"base/{each.name}.yaml", engine_documents(export.project, each, export.choices), _said(each))
        for each in export.models
    ]
    if export.models:
        files.append(yaml_file("base/dmrc-engines.yaml", engine_policy(export.project, export.models)))
    return files


def _said(model: ServedModel) -> list[str]:
    """Return comments: which models these are, and how much each of their requests may use."""
    options = model.launch.options
    used = f"models.{', models.'.join(model.keys)}"
    lines = [f"{used}: {model.declaration.name}, {options.context_size} tokens x {model.launch.parallel} slots."]
    return lines + [f"{each.name} is {each.digest} here, {each.size_bytes} bytes." for each in model.packages]


def _pins(export: Export) -> list[str]:
    """Return a comment for each image that a tag names, which a registry may move."""
    images = dict.fromkeys([export.choices.image("dmrc"), *(image_of(each, export.choices) for each in export.models)])
    return [f"Image by tag: {image}. Pin it: --image KIND=IMAGE@sha256:…" for image in images if "@" not in image]


def _images_to_push(export: Export) -> list[str]:
    """Return how each image of a model comes to where the cluster pulls it from."""
    packages = [each for model in export.models for each in model.packages if each.image_tag]
    lines = (
        f"Push {each.name}: dmrc tag {each.digest} {each.image_tag} && dmrc push --as image {each.image_tag}"
        for each in packages
    )
    return list(dict.fromkeys(lines))


def _gateway(export: Export) -> list[ManifestFile]:
    return [
        yaml_file(f"base/{names.GATEWAY}.yaml", gateway_documents(export.project, export.registration, export.choices))
    ]


def _services(export: Export, converted: Mapping[str, Converted]) -> list[ManifestFile]:
    return [
        yaml_file(f"base/service-{each.name}.yaml", found.documents)
        for each in export.services
        if (found := converted[each.service.name]).documents
    ]


def _secrets(export: Export, converted: Mapping[str, Converted]) -> list[ManifestFile]:
    """Return the files with keys: one Secret for each service, one for the engines, one for upstreams elsewhere."""
    engine_keys = {names.key_variable(each.name): export.keys[f"engine/{each.name}"] for each in export.models}
    kept_out = json.dumps({export.project: sorted(export.secrets)})
    secrets: dict[str, tuple[str, Mapping[str, str]]] = {
        names.ENGINE_KEYS: ("gateway", engine_keys),
        names.UPSTREAM_KEYS: ("gateway", export.upstream_keys),
        names.GATEWAY_SECRETS: ("gateway", {names.SECRETS_FILE: kept_out}),
    }
    for each in export.services:
        secrets[names.service_secret(each.service.name)] = ("service", converted[each.service.name].variables)
    files = [
        yaml_file(f"{SECRETS}/{name}.yaml", [secret(export.project, name, component, values)])
        for name, (component, values) in secrets.items()
        if values
    ]
    return [*files, ManifestFile(KEYS, json.dumps({**export.keys}, indent=2, sort_keys=True) + "\n")]


def _component(export: Export, converted: Mapping[str, Converted]) -> list[ManifestFile]:
    """Return the kustomize component for services whose Deployments somebody else writes: Compose Bridge, a person."""
    patches = [
        caller_patch(each)
        for each in export.services
        if each.service.bindings and not converted[each.service.name].documents
    ]
    if not patches:
        return []
    comments = ["Gives Deployments that are not in base their variables: name it under `components:` beside them."]
    component: JsonObject = {
        "apiVersion": "kustomize.config.k8s.io/v1alpha1",
        "kind": "Component",
        "patches": [*patches],
    }
    return [yaml_file("components/services/kustomization.yaml", [component], comments)]
