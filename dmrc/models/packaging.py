"""Makes a model of files, or of another model: the same input always gives the same ID."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from dmrc.artifact import (
    CHAT_TEMPLATE_FILE,
    ORDER,
    ArtifactForm,
    Descriptor,
    ModelConfig,
    Role,
    build_manifest,
    config_media_type,
    describe_layer,
    telling_name,
    write_config,
)
from dmrc.errors import GgufError, InputError, InvalidReferenceError, SafetensorsError
from dmrc.models.directories import files_of_directory
from dmrc.reference import Reference
from dmrc.sources import Progress, ProgressEvent
from dmrc.sources.assembly import File, config_of, config_of_directory
from dmrc.sources.local_files import read_facts, read_model, reading
from dmrc.store import BlobMissingError, Store, StoredModel

_LARGEST_TEXT_BYTES = 1 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Parts:
    """What to make a model of: a GGUF file or another model, and what goes with it or in the place of its own."""

    gguf: Path | None = None
    """The GGUF file; of a split model the first one, the others are found by name."""
    directory: Path | None = None
    """A directory of safetensors files, with all that belongs to them."""
    base: StoredModel | None = None
    """The model to start from, where there are no files."""
    mmproj: Path | None = None
    """Multimodal projector."""
    chat_template: Path | None = None
    """Jinja chat template."""
    licenses: Sequence[Path] = ()
    """Licences, plain text."""
    context_size: int | None = None
    """Tokens per request, recorded as given and never guessed; None keeps what the base says."""
    form: ArtifactForm = "docker"
    """Form of the artifact."""


@dataclass(frozen=True, slots=True)
class _Layer:
    role: Role
    file_name: str
    blob: Descriptor
    in_directory: bool = False
    """Whether the name is the path of a file in a model that is a directory."""


class Packager:
    """Puts models into one store."""

    def __init__(self, store: Store, progress: Progress) -> None:
        """Report to `progress` while files are copied."""
        self._store = store
        self._progress = progress

    def package(self, parts: Parts, reference: Reference) -> StoredModel:
        """Put the model into the store; see `Models.package`."""
        if reference.digest is not None:
            raise InvalidReferenceError(f"'{reference}' has a digest; a model is packaged under a tag")
        if parts.context_size is not None and parts.context_size < 1:
            raise InputError(f"a context size of {parts.context_size} tokens cannot be served")
        if sum(each is not None for each in (parts.gguf, parts.directory, parts.base)) != 1:
            raise InputError(
                "a model is made of a GGUF file, of a directory or of another model",
                remedy="Give --gguf, --safetensors-dir or --from",
            )
        with self._store.writing():
            layers, config = self._begun(parts)
            layers = self._with_extras(layers, parts)
            if parts.context_size is not None:
                config = replace(config, context_size=parts.context_size)
            return self._store.add(self._write(config, layers, parts.form), [reference])

    def _write(self, config: ModelConfig, layers: Sequence[_Layer], form: ArtifactForm) -> bytes:
        """Store the config and return the manifest."""
        names: Counter[str] = Counter()
        descriptors = []
        for layer in layers:
            name = telling_name(layer.role, layer.file_name)
            names[name] += 1  # but files of a directory, which have all different names
            path = name if names[name] == 1 else f"{names[name]}-{name}"
            descriptors.append(describe_layer(layer.role, layer.blob, path, form, in_directory=layer.in_directory))
        data = write_config(config, descriptors, form)
        with self._store.write_blob() as writer:
            writer.write(data)
        blob = Descriptor(config_media_type(form, config.format), str(writer.digest), len(data))
        return build_manifest(blob, descriptors, config.context_size)

    def _begun(self, parts: Parts) -> tuple[list[_Layer], ModelConfig]:
        if parts.gguf is not None:
            return self._new(parts.gguf)
        return self._directory(parts.directory) if parts.directory else self._taken_over(parts.base)

    def _directory(self, directory: Path) -> tuple[list[_Layer], ModelConfig]:
        """Return the layers of a directory: one for each file, hidden ones left out."""
        found = files_of_directory(directory)
        layers = [self._copy(role, directory / name, name) for name, role in found.items()]
        layers = [replace(layer, in_directory=True) for layer in layers]
        return layers, config_of_directory([_file(layer) for layer in layers], self._store)

    def _new(self, gguf: Path) -> tuple[list[_Layer], ModelConfig]:
        shards, facts = read_model(gguf)
        return [self._copy("gguf", path) for path in shards], config_of(facts)

    def _with_extras(self, layers: list[_Layer], parts: Parts) -> list[_Layer]:
        """Return the layers with those of the parts in the place of others for the same role."""
        extras: list[tuple[Role, Path]] = [("license", _checked_text(path)) for path in parts.licenses]
        if parts.chat_template is not None:
            extras.insert(0, ("chat_template", _checked_text(parts.chat_template)))
        if parts.mmproj is not None:
            if any(layer.in_directory for layer in layers):
                raise InputError(
                    f"'{parts.mmproj}' goes with a GGUF file; a model in another format has its projector in it"
                )
            read_facts(parts.mmproj)
            extras.insert(0, ("mmproj", parts.mmproj))
        replaced = {role for role, _ in extras}
        kept = [layer for layer in layers if layer.role not in replaced]
        added = [self._copy(role, path) for role, path in extras]
        if any(layer.in_directory for layer in layers):
            # Under the name by which transformers finds it.
            added = [
                replace(layer, file_name=CHAT_TEMPLATE_FILE, in_directory=True)
                if layer.role == "chat_template"
                else layer
                for layer in added
            ]
        return sorted([*kept, *added], key=lambda layer: ORDER.index(layer.role))

    def _taken_over(self, base: StoredModel | None) -> tuple[list[_Layer], ModelConfig]:
        """Return the layers and the config of a model in the store, with what its form leaves out of the config."""
        if base is None:
            return [], ModelConfig(format="gguf")
        self._store.files(base)  # so that one whose files are missing is told as such
        config = with_facts(self._store, base).config
        shards = base.manifest.gguf_layers
        if not shards:
            paths = {layer: path for path, layer in base.manifest.directory_files}
            layers = [
                _Layer(layer.role, paths.get(layer, layer.digest[7:19]), layer, layer in paths)
                for layer in base.manifest.layers
            ]
            return layers, config
        ordered = [*shards, *(layer for layer in base.manifest.layers if layer.role != "gguf")]
        layers = [
            _Layer(layer.role, layer.file_path or _name(layer, number, len(shards)), layer)
            for number, layer in enumerate(ordered, 1)
        ]
        return layers, config

    def _copy(self, role: Role, path: Path, name: str = "") -> _Layer:
        with reading(path):
            size = path.stat().st_size
            with self._store.write_blob(size_bytes=size) as writer:
                writer.copy(path, lambda written: self._progress(ProgressEvent("Packaging", path.name, written, size)))
        return _Layer(role, name or path.name, Descriptor("application/octet-stream", str(writer.digest), size))


def _name(layer: Descriptor, number: int, shards: int) -> str:
    """Return the name of a file whose artifact gives it none."""
    if layer.role == "gguf" and shards > 1:
        return f"model-{number:05d}-of-{shards:05d}.gguf"
    names = {"gguf": "model.gguf", "mmproj": "mmproj.gguf", "chat_template": "template.jinja", "license": "LICENSE"}
    return names.get(layer.role, layer.digest[7:19])


def _file(layer: _Layer) -> File:
    return File(layer.role, layer.file_name, layer.blob.digest, layer.blob.size_bytes)


def with_facts(store: Store, model: StoredModel) -> StoredModel:
    """Return a model whose config tells what the header of its file does, where the artifact leaves that out.

    ModelPack's form always does, and other programs' artifacts may. Where the file cannot be read it tells no more.
    """
    told = model.config
    if told.gguf or ("tensor_count" in told.safetensors and told.parameters):
        return model
    try:
        found = _read_config(store, model)
    except (BlobMissingError, GgufError, SafetensorsError):
        return model
    if found is None:
        return model
    return replace(model, config=replace(found, context_size=told.context_size, created=told.created))


def _read_config(store: Store, model: StoredModel) -> ModelConfig | None:
    if files := model.manifest.directory_files:
        return config_of_directory([File(one.role, path, one.digest, one.size_bytes) for path, one in files], store)
    facts = store.facts(model)
    return None if facts is None else config_of(facts)


def _checked_text(path: Path) -> Path:
    """Return the path of a small text file."""
    with reading(path), path.open("rb") as stream:
        data = stream.read(_LARGEST_TEXT_BYTES + 1)
    if len(data) > _LARGEST_TEXT_BYTES:
        raise InputError(f"'{path}' is larger than {_LARGEST_TEXT_BYTES} bytes")
    try:
        data.decode()
    except UnicodeDecodeError as error:
        raise InputError(f"'{path}' is not UTF-8 text") from error
    return path
