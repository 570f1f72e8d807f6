"""The files of a model in the store: where they lie, in which order, and what their headers say."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path

from dmrc.artifact import CHAT_TEMPLATE_FILE, CONTEXT_LENGTH, Descriptor, Manifest, ModelConfig
from dmrc.errors import ArtifactError
from dmrc.gguf import GgufFacts
from dmrc.json_values import parse_object
from dmrc.safetensors import trained_context
from dmrc.store.archived_files import unpacked
from dmrc.store.bundles import linked, split_files
from dmrc.store.files import storage_errors
from dmrc.store.layout import Layout
from dmrc.store.lookup import missing, name_of
from dmrc.store.model import ModelFiles, StoredModel


def files_of(layout: Layout, model: StoredModel) -> ModelFiles:
    """Return where the model's files lie, complete.

    Raises:
        BlobMissingError: A file is missing.
        ArtifactError: The model is in a format that is not known.
    """
    shards = _paths(layout, model.manifest.gguf_layers, model)
    if not shards:
        return _directory(layout, model)
    if len(shards) > 1:
        with storage_errors(layout.root):
            shards = split_files(layout.bundles, model.digest, _in_order(shards, model))
    mmproj = _paths(layout, model.manifest.with_role("mmproj"), model)
    template = _paths(layout, model.manifest.with_role("chat_template"), model)
    loras = tuple(_paths(layout, model.manifest.with_role("lora"), model))
    return ModelFiles(shards[0], "gguf", next(iter(mmproj), None), next(iter(template), None), loras)


def _directory(layout: Layout, model: StoredModel) -> ModelFiles:
    files = model.manifest.directory_files
    if not files:
        raise ArtifactError(f"model '{name_of(model)}' has no GGUF file and no safetensors")
    paths = _paths(layout, [layer for _, layer in files], model)
    named = {name: path for (name, _), path in zip(files, paths, strict=True)}
    archives = _paths(layout, model.manifest.with_role("archive"), model)
    with storage_errors(layout.root):
        directory = linked(layout.bundles, model.digest, named, unpacked(archives, named, name_of(model)))
    # Those in directories below are for other uses than a chat.
    templates = [each for each in model.manifest.with_role("chat_template") if "/" not in (each.file_path or "")]
    templates.sort(key=lambda each: each.file_path != CHAT_TEMPLATE_FILE)
    template = next(iter(_paths(layout, templates, model)), None)
    return ModelFiles(directory, str(model.manifest.format), chat_template=template)


def without_trained_context(layout: Layout, manifest: Manifest, config: ModelConfig) -> ModelConfig:
    """Return a config whose context size is one that somebody asked for.

    For a model of safetensors Docker Model Runner writes the trained maximum there, which may not fit.
    Source: `readContextSizeConfig` in
    https://github.com/docker/model-runner/blob/main/pkg/distribution/format/safetensors.go
    """
    file = dict(manifest.directory_files).get("config.json")
    if file is None or config.context_size is None or CONTEXT_LENGTH in config.safetensors:
        return config
    trained = trained_context(parse_object(layout.document(file.digest) or b""))
    if trained != config.context_size:
        return config
    facts = {**config.safetensors, CONTEXT_LENGTH: str(trained)}
    return replace(config, context_size=None, safetensors=facts)


def _in_order(shards: list[Path], model: StoredModel) -> list[Path]:
    """Return the files of a split model in the order that their headers say; a manifest may have another.

    Raises:
        ArtifactError: They are not the files of one split model.
    """
    numbers = [facts.split_number for facts in _headers(shards, model)]
    if not any(numbers):  # the headers do not say
        return shards
    if sorted(numbers) != list(range(len(shards))):
        said = ", ".join(str(number + 1) for number in numbers)
        raise ArtifactError(
            f"model '{name_of(model)}' has {len(shards)} GGUF files, which say that they are parts {said}",
            remedy="Package its files again",
        )
    return [shard for _, shard in sorted(zip(numbers, shards, strict=True))]


def _headers(paths: Iterable[Path], model: StoredModel) -> Iterator[GgufFacts]:
    for path in paths:
        with storage_errors(path), path.open("rb") as stream:
            yield GgufFacts.parse(stream, name=name_of(model))


def facts_of(layout: Layout, model: StoredModel) -> GgufFacts | None:
    """Read the facts from the headers of the model's GGUF files; None for one in another format.

    Raises:
        BlobMissingError: A file is missing.
        GgufError: A file is no GGUF.
    """
    paths = _paths(layout, model.manifest.gguf_layers, model)
    facts = sorted(_headers(paths, model), key=lambda each: each.split_number)
    return facts[0].with_shards(facts[1:]) if facts else None


def _paths(layout: Layout, layers: Iterable[Descriptor], model: StoredModel) -> list[Path]:
    paths = []
    for layer in layers:
        if not layout.has_blob(layer.digest, layer.size_bytes):
            raise missing(layer.digest, model)
        paths.append(layout.blob(layer.digest))
    return paths
