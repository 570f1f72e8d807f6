"""A model made of files: its config out of their headers, and its manifest."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from dmrc.artifact import (
    CONTEXT_LENGTH,
    ORDER,
    Descriptor,
    ModelConfig,
    Role,
    build_manifest,
    config_media_type,
    describe_layer,
    write_config,
)
from dmrc.gguf import GgufFacts, format_parameters
from dmrc.json_values import parse_object
from dmrc.safetensors import SafetensorsFacts, SafetensorsHeader
from dmrc.sources.source import BlobSink

_LARGEST_CONFIG_BYTES = 1 << 20


@dataclass(frozen=True, slots=True)
class File:
    """One file of a model, in the sink."""

    role: Role
    """What it is for."""
    name: str
    """Its name, for errors; of a model that is a directory its path there."""
    digest: str
    """`sha256:<64 hex>`."""
    size_bytes: int
    """Its size."""


def config_of(facts: GgufFacts) -> ModelConfig:
    """Return what the headers of a model say, as its config; no context size, which nobody asked for."""
    return ModelConfig(
        format="gguf",
        quantization=facts.quantization,
        parameters=format_parameters(facts.parameters),
        architecture=facts.architecture,
        size=_as_docker_writes_it(facts.tensor_bytes),
        gguf=facts.metadata,
    )


def config_of_directory(files: Sequence[File], sink: BlobSink) -> ModelConfig:
    """Return what the files of a model that is a directory say, as its config.

    Raises:
        SafetensorsError: A file of weights is not in the format safetensors, or not whole.
    """
    headers, config = [], {}
    for file in files:
        if file.role == "safetensors":
            with sink.open_blob(file.digest, file.size_bytes) as stream:
                headers.append(SafetensorsHeader.parse(stream, file.size_bytes, name=file.name))
        elif file.name == "config.json":
            with sink.open_blob(file.digest, file.size_bytes) as stream:
                config = parse_object(stream.read(_LARGEST_CONFIG_BYTES + 1))
    facts = SafetensorsFacts.of(headers, config)
    more = {"tensor_count": str(facts.tensor_count)}
    if facts.context_length is not None:
        more[CONTEXT_LENGTH] = str(facts.context_length)
    return ModelConfig(
        format="safetensors",
        quantization=facts.quantization,
        parameters=format_parameters(facts.parameters),
        architecture=facts.architecture,
        size=_as_docker_writes_it(facts.tensor_bytes),
        safetensors=more,
    )


def assemble(files: Sequence[File], sink: BlobSink) -> bytes:
    """Put the config of a model into the sink, and return the manifest. The same files always give the same bytes.

    Raises:
        GgufError: A file is not GGUF.
        SafetensorsError: A file of weights is not in the format safetensors, or not whole.
    """
    files = sorted(files, key=lambda file: ORDER.index(file.role))
    facts = [_facts(file, sink) for file in files if file.role == "gguf"]
    config = config_of(facts[0].with_shards(facts[1:])) if facts else config_of_directory(files, sink)
    layers = [
        describe_layer(
            one.role,
            Descriptor("application/octet-stream", one.digest, one.size_bytes),
            one.name,
            "docker",
            in_directory=not facts,
        )
        for one in files
    ]
    data = write_config(config, layers)
    with sink.write_blob(None, len(data)) as writer:
        writer.write(data)
    media_type = config_media_type("docker", config.format)
    return build_manifest(Descriptor(media_type, str(writer.digest), len(data)), layers)


def _facts(file: File, sink: BlobSink) -> GgufFacts:
    with sink.open_blob(file.digest, file.size_bytes) as stream:
        return GgufFacts.parse(stream, name=file.name)


def _as_docker_writes_it(size_bytes: int) -> str:
    """Return a size as `docker model package` puts it into an artifact, `256.35 MiB`: the same file has the same ID."""
    size, units = float(size_bytes), ("B", "KiB", "MiB", "GiB", "TiB")
    power = 0
    while power + 1 < len(units) and size >= 1024:
        size, power = size / 1024, power + 1
    return f"{size:.2f}".removesuffix(".00") + f" {units[power]}"
