"""Models as OCI artifacts: manifests and configs, in Docker Model Runner's form and in CNCF ModelPack's.

Both are read with suspicion, since they come from a registry.
Source: https://github.com/docker/model-runner/blob/main/pkg/distribution/types/config.go and
https://github.com/modelpack/model-spec/blob/main/docs/spec.md
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime

from dmrc.artifact.media_types import (
    CNCF_CONFIG,
    CONFIG,
    CONFIG_OF_FILES,
    CONTEXT_SIZE,
    DOCKER_MANIFEST,
    FILE_PATH,
    IMAGE_CONFIG,
    MANIFEST,
    Role,
    role_of,
)
from dmrc.artifact.paths import conflict, is_plain_path, names_of_weights
from dmrc.errors import ArtifactError

MAX_DOCUMENT_BYTES = 4 << 20
"""The largest manifest, index or config that is read. Source: OCI distribution-spec, section Push."""

_CONFIGS = (CONFIG, CONFIG_OF_FILES, CNCF_CONFIG)
IMAGE_CONFIGS = (IMAGE_CONFIG, "application/vnd.docker.container.image.v1+json")
"""Media types of configs of container images."""

_MAX_LAYERS, _MAX_MANIFESTS = 512, 256
_MAX_LAYER_BYTES = 16 << 40
_MAX_CONTEXT_TOKENS = (1 << 31) - 1
_MEDIA_TYPE = re.compile(r"[A-Za-z0-9][\w!#$&^.+-]{0,126}/[A-Za-z0-9][\w!#$&^.+-]{0,126}", re.ASCII)
_DIGEST = re.compile(r"sha256:[0-9a-f]{64}")
_FILE_PATH_KEYS = (FILE_PATH, "org.opencontainers.image.title")


@dataclass(frozen=True, slots=True)
class Descriptor:
    """What a manifest says about one blob."""

    media_type: str
    """Media type of the blob."""
    digest: str
    """`sha256:<64 hex>`."""
    size_bytes: int
    """Size of the blob."""
    file_path: str | None = None
    """Relative path of the file when it was packaged, never one that leads outside: `model-00001-of-00002.gguf`."""

    @classmethod
    def parse(cls, value: object, *, name: str, largest_bytes: int = _MAX_LAYER_BYTES) -> Descriptor:
        """Read a descriptor out of parsed JSON; `name` is how errors call the artifact.

        Raises:
            ArtifactError: A field is missing, of the wrong type, or beyond its bound.
        """
        media_type, digest, size = (_mapping(value, name).get(key) for key in ("mediaType", "digest", "size"))
        if not isinstance(media_type, str) or not _MEDIA_TYPE.fullmatch(media_type):
            raise _bad(name, f"it gives a blob the media type {media_type!r}")
        if not isinstance(digest, str) or not _DIGEST.fullmatch(digest):
            raise _bad(name, f"a blob must be named by a SHA-256 digest, not by {digest!r}")
        if not isinstance(size, int) or isinstance(size, bool) or not 0 <= size <= largest_bytes:
            raise _bad(
                name, f"it gives blob {digest} the size {size!r}, and at most {largest_bytes} bytes are accepted"
            )
        return cls(media_type, digest, size, _file_path(_mapping(value, name).get("annotations"), name))

    @property
    def role(self) -> Role:
        """Return what the blob is for, by its media type and, in ModelPack's form, its file name."""
        return role_of(self.media_type, self.file_path or "")


@dataclass(frozen=True, slots=True)
class Manifest:
    """The manifest of a model."""

    config: Descriptor
    """The config."""
    layers: tuple[Descriptor, ...]
    """The files, in the manifest's order."""
    context_size: int | None = None
    """Tokens to serve the model with, where an annotation says so; the config may say it, too."""

    @classmethod
    def parse(cls, data: bytes, *, name: str) -> Manifest:
        """Read a manifest; `name` is how errors call the artifact.

        Raises:
            ArtifactError: It is not the manifest of a model, or something in it is not to be trusted.
        """
        document = load(data, name)
        if document.get("schemaVersion") != 2 or document.get("mediaType", MANIFEST) not in (MANIFEST, DOCKER_MANIFEST):
            raise _bad(name, f"its manifest is of the type {document.get('mediaType')!r}")
        layers = document.get("layers")
        if not isinstance(layers, list) or len(layers) > _MAX_LAYERS:
            raise _bad(name, f"it has no list of at most {_MAX_LAYERS} layers")
        config_type = _mapping(document.get("config"), name).get("mediaType")
        if config_type in IMAGE_CONFIGS:
            raise ArtifactError(f"'{name}' is a container image, not a model", remedy="Name a model, like ai/smollm2")
        if config_type not in _CONFIGS:
            raise ArtifactError(f"'{name}' is not a model: its config is of the type {str(config_type)[:100]!r}")
        config = Descriptor.parse(document["config"], name=name, largest_bytes=MAX_DOCUMENT_BYTES)
        context_size = _context_size(document.get("annotations"), name)
        manifest = cls(config, tuple(Descriptor.parse(layer, name=name) for layer in layers), context_size)
        sizes: dict[str, int] = {}
        for blob in manifest.blobs:
            if sizes.setdefault(blob.digest, blob.size_bytes) != blob.size_bytes:
                raise _bad(name, f"it gives blob {blob.digest} two sizes")
        if doubtful := conflict(path for path, _ in manifest.directory_files):
            raise _bad(name, f"it has two files for the place of '{doubtful}'")
        return manifest

    @property
    def blobs(self) -> tuple[Descriptor, ...]:
        """Return the config and the layers."""
        return (self.config, *self.layers)

    @property
    def gguf_layers(self) -> tuple[Descriptor, ...]:
        """Return the GGUF files, the first shard first; empty for a model in another format."""
        layers = self.with_role("gguf")
        if all(layer.file_path for layer in layers):
            return tuple(sorted(layers, key=lambda layer: layer.file_path or ""))
        return layers

    @property
    def format(self) -> str | None:
        """Return the format of the weights, by its layers: `gguf`, `safetensors`; None for one that is not known."""
        return "gguf" if self.gguf_layers else "safetensors" if self.with_role("safetensors") else None

    @property
    def directory_files(self) -> tuple[tuple[str, Descriptor], ...]:
        """Return the files of a model that is a directory, each with its path; none for one in another format."""
        if self.format != "safetensors":
            return ()
        weights = self.with_role("safetensors")
        names = dict(zip(weights, names_of_weights(len(weights)), strict=True))
        found = ((layer.file_path or names.get(layer, ""), layer) for layer in self.layers if layer.role != "archive")
        return tuple(dict.fromkeys(each for each in found if each[0]))

    @property
    def size_bytes(self) -> int:
        """Return the bytes of all blobs, each counted once."""
        return sum({blob.digest: blob.size_bytes for blob in self.blobs}.values())

    def with_role(self, role: Role) -> tuple[Descriptor, ...]:
        """Return the layers that are for `role`."""
        return tuple(layer for layer in self.layers if layer.role == role)


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelConfig:
    """What an artifact says about its model. Text that it does not give is empty."""

    format: str
    """`gguf`, or another, which not every engine serves: `safetensors`."""
    quantization: str = ""
    """`Q4_K_M`."""
    parameters: str = ""
    """`361.82 M`."""
    architecture: str = ""
    """`llama`."""
    size: str = ""
    """`256.35 MiB`."""
    gguf: Mapping[str, str] = field(default_factory=dict)
    """Keys and values of the GGUF header, as text."""
    safetensors: Mapping[str, str] = field(default_factory=dict)
    """What is known beside that of a model in that format, as text: `{"tensor_count": "272"}`."""
    context_size: int | None = None
    """Tokens to serve the model with, where its packager asked for that; never its trained maximum."""
    created: datetime | None = None
    """When it was packaged, where it says so."""

    @classmethod
    def parse(cls, data: bytes, *, name: str) -> ModelConfig:
        """Read a config of either form; `name` is how errors call the artifact.

        Raises:
            ArtifactError: It is no such config.
        """
        document = load(data, name)
        config = _mapping(document.get("config"), name)
        descriptor = _mapping(document.get("descriptor", {}), name)
        facts = {key: _texts(_mapping(config.get(key) or {}, name)) for key in ("gguf", "safetensors")}
        context_size = config.get("context_size") or 0
        if not isinstance(context_size, int) or context_size > _MAX_CONTEXT_TOKENS:
            raise _bad(name, f"its context_size is {context_size!r}")
        return cls(
            format=_text(config, "format", name).lower(),
            quantization=_text(config, "quantization", name),
            parameters=_text(config, "parameters", name) or _text(config, "paramSize", name),
            # ModelPack's architecture may be as vague as `transformer`, and its family is what GGUF calls so.
            architecture=_text(descriptor, "family", name) or _text(config, "architecture", name),
            size=_text(config, "size", name),
            **facts,
            # Docker Model Runner writes -1 for "as large as it was trained".
            context_size=context_size if context_size > 0 else None,
            created=_time(descriptor.get("created") or descriptor.get("createdAt")),
        )

    def completed(self, manifest: Manifest) -> ModelConfig:
        """Return it with what only the manifest says, in ModelPack's form: a context size, the format."""
        context_size = manifest.context_size if self.context_size is None else self.context_size
        return replace(self, format=self.format or manifest.format or "", context_size=context_size)


def select_manifest(index: bytes, *, name: str) -> Descriptor:
    """Return the descriptor of the manifest to take from an index: the first one that may be a model.

    Raises:
        ArtifactError: There is none, or the index is not to be trusted. An index in an index is not followed.
    """
    entries = load(index, name).get("manifests")
    if not isinstance(entries, list) or len(entries) > _MAX_MANIFESTS:
        raise _bad(name, f"its index has no list of at most {_MAX_MANIFESTS} manifests")
    candidates = [entry for entry in entries if _mapping(entry, name).get("mediaType") in (MANIFEST, DOCKER_MANIFEST)]
    # One with an artifactType or without a platform is more likely a model than an image for linux/amd64.
    candidates.sort(key=lambda entry: (not entry.get("artifactType"), bool(entry.get("platform"))))
    if not candidates:
        raise _bad(name, "its index lists no manifest")
    return Descriptor.parse(candidates[0], name=name, largest_bytes=MAX_DOCUMENT_BYTES)


def _context_size(annotations: object, name: str) -> int | None:
    text = None if annotations is None else _mapping(annotations, name).get(CONTEXT_SIZE)
    if text is None:
        return None
    if not isinstance(text, str) or not re.fullmatch(r"[1-9]\d{0,9}", text, re.ASCII):
        raise _bad(name, f"its {CONTEXT_SIZE} is {str(text)[:40]!r}")
    return min(int(text), _MAX_CONTEXT_TOKENS)


def load(data: bytes, name: str) -> Mapping[str, object]:
    """Return a document of bounded size; `name` is how errors call the artifact.

    Raises:
        ArtifactError: It is too long, or no JSON object.
    """
    if len(data) > MAX_DOCUMENT_BYTES:
        raise _bad(name, f"it has a document of {len(data)} bytes, and at most {MAX_DOCUMENT_BYTES} are read")
    try:
        document: object = json.loads(data)
        # JSON can hold half a surrogate pair, which no file or terminal takes.
        json.dumps(document, ensure_ascii=False).encode()
    except (ValueError, RecursionError) as error:
        raise _bad(name, "it is not JSON") from error
    return _mapping(document, name)


def _mapping(value: object, name: str) -> Mapping[str, object]:
    if not isinstance(value, dict):
        raise _bad(name, f"it has {str(value)[:40]!r} where an object is wanted")
    return value


def _texts(values: Mapping[str, object]) -> dict[str, str]:
    return {key: value if isinstance(value, str) else json.dumps(value) for key, value in values.items()}


def _text(values: Mapping[str, object], key: str, name: str) -> str:
    value = values.get(key)
    if value is not None and not isinstance(value, str):
        raise _bad(name, f"its {key} must be a string, not {str(value)[:40]!r}")
    return value or ""


def _time(value: object) -> datetime | None:
    try:
        time = datetime.fromisoformat(value) if isinstance(value, str) else None
    except ValueError:
        return None
    # Go writes its zero time as the year 1.
    if time is None or time.year < 1970:
        return None
    return time if time.tzinfo else time.replace(tzinfo=UTC)


def _file_path(annotations: object, name: str) -> str | None:
    values = {} if annotations is None else _mapping(annotations, name)
    path = next((values[key] for key in _FILE_PATH_KEYS if key in values), None)
    if path is None:
        return None
    if not is_plain_path(path):
        raise _bad(name, f"a file must be named by a plain relative path, not by {str(path)[:100]!r}")
    return str(path)


def _bad(name: str, reason: str) -> ArtifactError:
    return ArtifactError(f"'{name}' is not a model to be trusted: {reason}")
