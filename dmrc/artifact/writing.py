"""Manifests and configs as they are packaged here: the same input always gives the same bytes, and so the same ID.

No time and no owner is in them. Source: https://github.com/modelpack/model-spec/blob/main/docs/config.md and, for
Docker's form, https://github.com/docker/model-runner/blob/main/pkg/distribution/types/config.go
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Literal

from dmrc.artifact.media_types import (
    CHAT_TEMPLATE,
    CNCF_CONFIG,
    CNCF_DOC,
    CNCF_WEIGHT_CONFIG,
    CNCF_WEIGHTS,
    CONFIG,
    CONFIG_OF_FILES,
    CONTEXT_SIZE,
    FILE_PATH,
    GGUF,
    LICENSE,
    MANIFEST,
    MMPROJ,
    MODEL_FILE,
    SAFETENSORS,
    Role,
)
from dmrc.artifact.reading import Descriptor, ModelConfig

ArtifactForm = Literal["docker", "cncf"]
"""Docker Model Runner's form, or CNCF ModelPack's."""

_CNCF_ARTIFACT = "application/vnd.cncf.model.manifest.v1+json"
_DOCKER_LAYERS: Mapping[Role, str] = {
    "gguf": GGUF,
    "safetensors": SAFETENSORS,
    "file": MODEL_FILE,
    "mmproj": MMPROJ,
    "chat_template": CHAT_TEMPLATE,
    "license": LICENSE,
}
_CNCF_LAYERS: Mapping[Role, str] = {
    "gguf": CNCF_WEIGHTS,
    "safetensors": CNCF_WEIGHTS,
    "file": CNCF_WEIGHT_CONFIG,
    "mmproj": CNCF_WEIGHTS,
    "chat_template": CNCF_WEIGHT_CONFIG,
    "license": CNCF_DOC,
}


ORDER: tuple[Role, ...]
ORDER = ("gguf", "safetensors", "file", "archive", "mmproj", "lora", "chat_template", "license", "other")
"""Order of a model's layers, so that the same files always make the same model."""


def describe_layer(
    role: Role, blob: Descriptor, file_name: str, form: ArtifactForm, *, in_directory: bool = False
) -> Descriptor:
    """Return the descriptor of a blob that is for `role`; in ModelPack's form the file's name says so.

    `file_name` should be one that `telling_name` returned; `in_directory` says that it is a path in a model which is a
    directory.
    """
    if form == "docker":
        path = file_name if in_directory or role in ("safetensors", "file") else None
        return Descriptor(_DOCKER_LAYERS.get(role, blob.media_type), blob.digest, blob.size_bytes, path)
    media_type = _CNCF_LAYERS.get(role, blob.media_type)
    return Descriptor(media_type, blob.digest, blob.size_bytes, file_name)


def telling_name(role: Role, file_name: str) -> str:
    """Return a file name by which a reader of ModelPack's form knows what the file is for."""
    lowered = file_name.lower()
    if role == "mmproj" and "mmproj" not in lowered:
        return f"mmproj-{file_name}"
    if role == "gguf" and "mmproj" in lowered:
        return "model.gguf"
    if role == "chat_template" and not lowered.endswith(".jinja"):
        return f"{file_name}.jinja"
    if role == "license" and "license" not in lowered:
        return f"LICENSE-{file_name}"
    if role in ("gguf", "mmproj") and not lowered.endswith(".gguf"):
        return f"{file_name}.gguf"
    return file_name


def config_media_type(form: ArtifactForm, model_format: str = "gguf") -> str:
    if form != "docker":
        return CNCF_CONFIG
    return CONFIG if model_format == "gguf" else CONFIG_OF_FILES


def write_config(config: ModelConfig, layers: Sequence[Descriptor], form: ArtifactForm = "docker") -> bytes:
    digests = [layer.digest for layer in layers]
    if form == "docker":
        facts = ("gguf", "safetensors")
        names = ("format", "quantization", "parameters", "architecture", "size", *facts, "context_size")
        values = {name: getattr(config, name) for name in names}
        present = {name: dict(value) if name in facts else value for name, value in values.items() if value}
        return _dump({"config": present, "descriptor": {}, "rootfs": {"type": "rootfs", "diff_ids": digests}})
    # Its schema allows no other field: the context size is an annotation of the manifest.
    fields = {
        "format": config.format,
        "quantization": config.quantization,
        "paramSize": config.parameters,
        "architecture": config.architecture,
    }
    present = {name: value for name, value in fields.items() if value}
    family = {"family": config.architecture} if config.architecture else {}
    return _dump({"config": present, "descriptor": family, "modelfs": {"type": "layers", "diffIds": digests}})


def build_manifest(config: Descriptor, layers: Sequence[Descriptor], context_size: int | None = None) -> bytes:
    """Return the manifest of a model, in the form of its config; Docker's form has `context_size` in the config."""
    document: dict[str, object] = {"schemaVersion": 2, "mediaType": MANIFEST}
    if config.media_type == CNCF_CONFIG:
        document["artifactType"] = _CNCF_ARTIFACT
        if context_size is not None:
            document["annotations"] = {CONTEXT_SIZE: str(context_size)}
    return _dump({**document, "config": _entry(config), "layers": [_entry(layer) for layer in layers]})


def _entry(descriptor: Descriptor) -> dict[str, object]:
    entry: dict[str, object] = {
        "mediaType": descriptor.media_type,
        "digest": descriptor.digest,
        "size": descriptor.size_bytes,
    }
    if descriptor.file_path is not None:
        entry["annotations"] = {FILE_PATH: descriptor.file_path}
    return entry


def _dump(document: Mapping[str, object]) -> bytes:
    return json.dumps(document, ensure_ascii=False, separators=(",", ":"), sort_keys=True).encode()
