"""The models of a project as engines in a cluster: what is started, which files it needs, and what it takes."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

import click

from dmrc.cli.app import App
from dmrc.cli.progress import spinner
from dmrc.engines.devices import Device
from dmrc.engines.engine import Engine, Launch, MemoryEstimate
from dmrc.engines.llama_cpp.engine import LlamaCpp
from dmrc.engines.local_model import LocalModel, local
from dmrc.engines.placement import ALL, DeviceShare, Placement
from dmrc.engines.vllm import memory as vllm_memory
from dmrc.errors import UnsupportedError
from dmrc.gateway.serving.snapshot import Snapshot
from dmrc.gateway.serving.targets import Targets, Use
from dmrc.kubernetes import names
from dmrc.kubernetes.arguments import NOWHERE
from dmrc.kubernetes.choices import Choices
from dmrc.kubernetes.served import Package, ServedModel
from dmrc.models.images import model_image
from dmrc.models.loose_files import loose_files
from dmrc.models.outlines import Outlines
from dmrc.project import CONTAINER_ENGINE, DEFAULT_ENGINE, ModelDeclaration, Project, ReplicaRange, is_path
from dmrc.reference import Reference
from dmrc.scheduler.target import Target
from dmrc.secret_names import secrets_in_urls
from dmrc.store import Store, StoredModel
from dmrc.store.lookup import name_of

_SLOTS = 4
"""Requests at the same time where the project does not say: what dmrc tries first where there is memory."""

_LARGEST_FILES = 900_000
"""Bytes of a ConfigMap. Source: https://kubernetes.io/docs/concepts/configuration/configmap/ (1 MiB, in base64)."""

_LIKE_LLAMA_CPP = ("ray", "llama-cpp-python")
"""Engines in whose place llama.cpp's own server runs there: it loads the same files, with the same options."""

_RESOURCES = {"CUDA": "nvidia.com/gpu", "ROCM": "amd.com/gpu"}
_HUGGING_FACE = "huggingface.co"


def served_models(app: App, project: Project, choices: Choices) -> list[ServedModel]:
    """Return the models that engines in the cluster serve, each configuration once; those of upstreams stay there.

    Raises:
        ModelNotFoundError: A model is not in the store.
        UnsupportedError: One cannot be served there as it is declared; it is named.
    """
    store = _outlined(app, project) if choices.is_remote else app.store
    return _served(_Reader(app, store, project, choices), project)


def _outlined(app: App, project: Project) -> Store:
    """Return a store with what the registries say of the project's models; it goes when the command ends."""
    directory = click.get_current_context().with_resource(tempfile.TemporaryDirectory(prefix="dmrc-"))
    store = Store(Path(directory) / "store")
    outlines = Outlines(store, app.sources())
    for reference in dict.fromkeys(each for model in project.models.values() for each in model.references):
        outlines.bring(reference)
    return store


def _served(reader: _Reader, project: Project) -> list[ServedModel]:
    found: dict[str, ServedModel] = {}
    for declaration in project.models.values():
        if declaration.options.upstream is not None:
            continue
        target = reader.target(declaration)
        same = found.get(target.key)
        if same is not None:
            found[target.key] = replace(same, keys=(*same.keys, declaration.key))
        else:
            found[target.key] = reader.served(declaration, target)
    return list(found.values())


@dataclass(slots=True)
class _Files:
    """What one engine needs, as it is found."""

    packages: list[Package] = field(default_factory=list)
    """Models of the store."""
    places: dict[str, str] = field(default_factory=dict)
    """Where files are in the Pod."""
    own: dict[str, bytes] = field(default_factory=dict)
    """Files of the project."""


class _Reader:
    """Reads models of the store for one export."""

    def __init__(self, app: App, store: Store, project: Project, choices: Choices) -> None:
        self._store = store
        self._registry = app.settings.default_registry
        self._project, self._choices = project, choices
        # Of the cluster's llama.cpp nothing is known here but that it is a new one: no binary of this machine is asked.
        self._engines: Mapping[str, Engine] = {**app.engines, DEFAULT_ENGINE: LlamaCpp(None)}
        self._targets = Targets(self._store, self._engines)
        self._snapshot = Snapshot(self._registry, named=tuple(self._store.named()))
        self._images: dict[str, str] = {}

    def target(self, declaration: ModelDeclaration) -> Target:
        """Return what would be run for it here."""
        options = declaration.options
        if declaration.engine in _LIKE_LLAMA_CPP:
            options = replace(options, engine=DEFAULT_ENGINE)
        known = replace(declaration, options=options)
        return self._targets.target(self._snapshot, Use(self._project.name, declaration.model, known), None)

    def served(self, declaration: ModelDeclaration, target: Target) -> ServedModel:
        """Return all that its engine there needs to know."""
        if target.engine not in (DEFAULT_ENGINE, "vllm", CONTAINER_ENGINE):
            raise self._unsupported(
                declaration, f"there is no image for engine '{target.engine}'", f"Use engine {DEFAULT_ENGINE}"
            )
        engine, model = self._engines[target.engine], local(target.model)
        card = self._card(declaration, target)
        parallel = engine.asked_parallel(target.options) or _SLOTS
        memory = self._memory(target, model, parallel, has_card=card is not None)
        files = self._files(declaration, model)
        launch = Launch(
            name=declaration.name,
            model=model,
            options=replace(target.options, device=None, gpu=None),
            parallel=parallel,
            prompt_cache_bytes=memory.prompt_cache_bytes if memory else 0,
            placement=_placement(card),
            socket=NOWHERE,
            log=NOWHERE,
        )
        return ServedModel(
            name=names.engine_name(declaration.key),
            declaration=declaration,
            keys=(declaration.key,),
            launch=launch,
            memory=memory,
            card=card,
            packages=tuple(files.packages),
            places=files.places,
            files=files.own,
            replicas=self._replicas(declaration),
        )

    def _replicas(self, declaration: ModelDeclaration) -> ReplicaRange:
        return self._choices.replicas.get(declaration.key) or declaration.options.replicas or ReplicaRange()

    def _card(self, declaration: ModelDeclaration, target: Target) -> tuple[str, int] | None:
        """Return which graphics cards it asks for; None where it is for the processor, or leaves that open."""
        options = target.options
        if target.engine == "vllm":
            return "nvidia.com/gpu", 1
        wish = self._engines[target.engine].device_wish(options)
        if wish.names == () or (wish.names is None and options.gpu != "required"):
            return None
        device_names = wish.names or ("CUDA0",)
        kinds = {name.rstrip("0123456789").upper() for name in device_names}
        resources = {_RESOURCES.get(kind) for kind in kinds}
        if len(resources) > 1 or None in resources:
            raise self._unsupported(
                declaration,
                f"no cluster has a resource for device '{','.join(device_names)}'",
                "Write gpu: required, for a card of NVIDIA, or device: ROCm0",
            )
        return str(resources.pop()), len(device_names)

    def _memory(self, target: Target, model: LocalModel, parallel: int, *, has_card: bool) -> MemoryEstimate | None:
        """Return what the engine takes of RAM, with a cache of earlier prompts as large as its slots' contexts."""
        if target.engine == "vllm":
            return replace(vllm_memory.estimate(model, target.options, parallel), kv_bytes=0)  # those are on the card
        engine = self._engines[target.engine]
        memory = engine.estimate(model, target.options, parallel, ALL if has_card else 0)
        if memory is None or not engine.keeps_prompts(model, target.options):
            return memory
        return replace(memory, prompt_cache_bytes=memory.kv_bytes)

    def _files(self, declaration: ModelDeclaration, model: LocalModel) -> _Files:
        files, options = _Files(), declaration.options
        self._add_package(files, declaration, "model", declaration.model)
        if options.draft and not is_path(options.draft):
            self._add_package(files, declaration, "draft", options.draft)
        for number, lora in enumerate(each for each in options.loras or () if not is_path(each)):
            self._add_package(files, declaration, f"lora-{number}", lora)
        beside = model.companions
        paths = [each.path for each in (beside.mmproj, *beside.loras, beside.draft) if each is not None]
        for path in [*paths, *([model.chat_template] if model.chat_template else [])]:
            if str(path) not in files.places:
                self._add_file(files, declaration, path)
        return files

    def _add_package(self, files: _Files, declaration: ModelDeclaration, folder: str, reference: str) -> None:
        """Add a model of the store in a directory of its own."""
        named = self._snapshot.get(reference)
        stored = self._store.read(named)
        loose = loose_files(self._store, stored)
        if loose.main:
            files.places |= {str(path): f"/{folder}/{name}" for name, path in loose.files.items()}
        else:
            files.places[str(self._store.files(stored).path)] = f"/{folder}"
        parsed = Reference.parse(reference, default_registry=self._registry)
        repository = f"{self._choices.models_in}/{parsed.repository.rpartition('/')[2]}"
        by_image = self._choices.weights == "image"
        files.packages.append(
            Package(
                folder=folder,
                name=declaration.name if folder == "model" else reference,
                reference=self._pulled_as(declaration, reference, parsed, named.digest),
                digest=named.digest,
                size_bytes=stored.size_bytes,
                image=f"{repository}@{self._image(stored)}" if by_image else None,
                image_tag=f"{repository}:{named.digest[7:19]}" if by_image else None,
            )
        )

    def _image(self, stored: StoredModel) -> str:
        """Return the digest of a model's image; all of the model is read for it, once."""
        if stored.digest not in self._images:
            with spinner(f"reading {name_of(stored)} for the digest of its image"):
                self._images[stored.digest] = model_image(self._store, stored).digest
        return self._images[stored.digest]

    def _pulled_as(self, declaration: ModelDeclaration, written: str, parsed: Reference, digest: str) -> str:
        """Return what an init container pulls: of a registry these very bytes."""
        if parsed.registry == _HUGGING_FACE:
            return written
        if "://" in written:
            if not written.startswith("http"):
                raise self._unsupported(declaration, f"'{written}' is a file of this machine", "Push it to a registry")
            if secrets_in_urls(written):
                raise self._unsupported(
                    declaration, "its URL holds a login, which all who see the Pod would read", "Push it to a registry"
                )
            return written
        return f"{parsed.registry}/{parsed.repository}@{digest}"

    def _add_file(self, files: _Files, declaration: ModelDeclaration, path: Path) -> None:
        """Add a file of the project, which goes along in a ConfigMap."""
        size = sum(map(len, files.own.values())) + (0 if path.is_dir() else path.stat().st_size)
        if path.is_dir() or size > _LARGEST_FILES:
            raise self._unsupported(
                declaration,
                f"'{path.name}' of the project is too large for a ConfigMap",
                "Package it with the model, and push that: dmrc package",
            )
        name = path.name if path.name not in files.own else f"{len(files.own)}-{path.name}"
        files.own[name] = path.read_bytes()
        files.places[str(path)] = f"/files/{name}"

    def _unsupported(self, declaration: ModelDeclaration, why: str, remedy: str) -> UnsupportedError:
        return UnsupportedError(f"model '{declaration.key}' cannot be exported: {why}", remedy=remedy)


def _placement(card: tuple[str, int] | None) -> Placement:
    """Return where the model is computed there: all of it on the cards that the Pod is given, which count from 0."""
    if card is None:
        return Placement()
    kind = next(kind for kind, resource in _RESOURCES.items() if resource == card[0])
    cards = [Device(f"{kind.replace('ROCM', 'ROCm')}{number}", "", 0, 0) for number in range(card[1])]
    return Placement(tuple(DeviceShare(device, 0) for device in cards))
