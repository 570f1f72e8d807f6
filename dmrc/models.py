"""Getting models into the store: pull and package; and showing them as Docker Model Runner does."""

from __future__ import annotations

import contextlib
import hashlib
import re
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from dmrc.artifact import CHAT_TEMPLATE, CONFIG, GGUF, LICENSE, MMPROJ, Descriptor, ModelConfig, build_manifest
from dmrc.errors import InputError, InvalidReferenceError, ModelNotFoundError, RegistryError
from dmrc.exchange import JsonValue
from dmrc.gguf import GgufFacts, format_parameters, format_size
from dmrc.reference import DEFAULT_REGISTRY, Reference
from dmrc.sources import Progress, ProgressEvent, Source, Transfer
from dmrc.store import BlobMissingError, Store, StoredModel
from dmrc.store.files import storage_errors

# Source: llama_split_path in https://github.com/ggml-org/llama.cpp/blob/master/src/llama.cpp
_SHARD = re.compile(r"(?P<stem>.*)-(?P<number>\d{5})-of-(?P<count>\d{5})\.gguf", re.ASCII)
_LARGEST_TEXT_BYTES = 1 << 20
_WAIT_SECONDS = 0.2


@dataclass(frozen=True, slots=True)
class Pulled:
    """What a pull did."""

    reference: str
    """Full reference of the model; its ID when it was asked for by ID and has no tag."""
    digest: str
    """`sha256:<64 hex>` of its manifest."""
    size_bytes: int
    """Bytes of its blobs."""
    seconds: float
    """Time that the pull took, with waiting for another process that pulled the same."""
    was_present: bool
    """Whether the store had this very model before, so that nothing changed."""


class Models:
    """The store and the sources, joined. Methods block, and are safe in threads and in several processes."""

    def __init__(self, store: Store, sources: Sequence[Source] = (), default_registry: str = DEFAULT_REGISTRY) -> None:
        """Bring models from `sources`, asked in order, into `store`."""
        self._store = store
        self._sources = sources
        self._default_registry = default_registry

    def pull(
        self,
        text: str,
        progress: Progress | None = None,
        *,
        refresh: bool = False,
        cancelled: Callable[[], bool] | None = None,
    ) -> Pulled:
        """Make sure that a model is in the store. One that is there needs no network, unless `refresh` asks for news.

        Processes that pull the same model take turns, and all but the first find it present.

        Raises:
            ModelNotFoundError: No such model where it should be.
            RegistryError: A registry, or the network, failed.
            ArtifactError: What is there is no model that can be served.
            StoreError: The store cannot be written, or its disk is full.
            CancelledError: `cancelled` returned True; nothing partial is left.
        """
        started = time.monotonic()
        before = self._find(text)
        model = None if refresh else before
        if model is None:
            source, reference = self._recognize(text)
            transfer = Transfer(self._store, progress or _ignore, cancelled or _never)
            with self._turn(reference, transfer):
                model = None if refresh else self._find(text)
                if model is None:
                    with _named(text):
                        model = self._fetch(source, text, reference, transfer)
        was_present = before is not None and before.digest == model.digest
        name = self._name(text, model)
        return Pulled(name, model.digest, model.size_bytes, time.monotonic() - started, was_present)

    def package(
        self,
        gguf: Path,
        target: str,
        *,
        licenses: Sequence[Path] = (),
        mmproj: Path | None = None,
        chat_template: Path | None = None,
        context_size: int | None = None,
        progress: Progress | None = None,
    ) -> StoredModel:
        """Put copies of files into the store as the model `target`. The same files always give the same ID.

        Of a split model, `gguf` is the first file; the others are found by name. `context_size` is recorded as given,
        and never guessed.

        Raises:
            GgufError: A file is not GGUF.
            InputError: A file cannot be read or used, or `context_size` is less than 1.
            InvalidReferenceError: `target` is no reference, or has a digest.
            StoreError: The store cannot be written, or its disk is full.
        """
        reference = Reference.parse(target, default_registry=self._default_registry)
        if reference.digest is not None:
            raise InvalidReferenceError(f"'{target}' has a digest; a model is packaged under a tag")
        if context_size is not None and context_size < 1:
            raise InputError(f"a context size of {context_size} tokens cannot be served")
        shards, facts = _read_model(gguf)
        files = [(path, GGUF) for path in shards]
        if mmproj is not None:
            _read_facts(mmproj)
            files.append((mmproj, MMPROJ))
        if chat_template is not None:
            files.append((_checked_text(chat_template), CHAT_TEMPLATE))
        files += [(_checked_text(path), LICENSE) for path in licenses]
        layers = [self._copy(path, media_type, progress or _ignore) for path, media_type in files]
        data = _config(facts, context_size).to_json(layers)
        with self._store.write_blob() as writer:
            writer.write(data)
        config = Descriptor(CONFIG, str(writer.digest), len(data))
        return self._store.add(build_manifest(config, layers), [reference])

    def _find(self, text: str) -> StoredModel | None:
        """Return the model when it is here with all its files."""
        try:
            model = self._store.resolve(text, self._default_registry)
        except ModelNotFoundError:
            return None
        has = self._store.has_blob
        return model if all(has(blob.digest, blob.size_bytes) for blob in model.manifest.blobs) else None

    def _recognize(self, text: str) -> tuple[Source, Reference]:
        for source in self._sources:
            reference = source.recognize(text)
            if reference is not None:
                return source, reference
        raise InputError(f"no source of models knows '{text}'", remedy="Run: dmrc plugins")

    def _fetch(self, source: Source, text: str, reference: Reference, transfer: Transfer) -> StoredModel:
        try:
            return self._store.add(source.fetch(text, transfer), [reference])
        except BlobMissingError:
            # Another process removed a model that shares a file with this one, after that file was seen here.
            return self._store.add(source.fetch(text, transfer), [reference])

    @contextlib.contextmanager
    def _turn(self, reference: Reference, transfer: Transfer) -> Iterator[None]:
        """Keep other pulls of the same model out, in this process and in others."""
        import filelock

        directory = self._store.root / "locks"
        lock = filelock.FileLock(directory / f"{hashlib.sha256(str(reference).encode()).hexdigest()[:16]}.lock")
        with storage_errors(directory):
            directory.mkdir(mode=0o700, parents=True, exist_ok=True)
            is_waiting = False
            while not lock.is_locked:
                try:
                    lock.acquire(timeout=0)
                except filelock.Timeout:
                    if not is_waiting:
                        transfer.report(ProgressEvent(f"Waiting for another pull of {reference.display()}"))
                    is_waiting = True
                    transfer.pause(_WAIT_SECONDS)
        try:
            yield
        finally:
            lock.release()

    def _name(self, text: str, model: StoredModel) -> str:
        with contextlib.suppress(InvalidReferenceError):
            name = str(Reference.parse(text, default_registry=self._default_registry))
            if name in model.tags or "@" in name:
                return name
        return next(iter(model.tags), model.digest)

    def _copy(self, path: Path, media_type: str, progress: Progress) -> Descriptor:
        with _reading(path):
            size = path.stat().st_size
            with self._store.write_blob(size_bytes=size) as writer:
                writer.copy(path, lambda written: progress(ProgressEvent("Packaging", path.name, written, size)))
        return Descriptor(media_type, str(writer.digest), size)


@contextlib.contextmanager
def _named(text: str) -> Iterator[None]:
    """Put the model that was asked for before what a registry's error says: several may be pulled side by side."""
    try:
        yield
    except RegistryError as error:
        error.message = f"model '{text.strip()}' cannot be pulled: {error.message}"
        raise


def _ignore(_event: ProgressEvent) -> None:
    pass


def _never() -> bool:
    return False


def describe(model: StoredModel) -> dict[str, JsonValue]:
    """Return a model as `docker model ls --json` and `inspect` show it.

    Shape: `{"id": "sha256:…", "tags": ["docker.io/ai/smollm2:latest"], "created": 1742816981, "config": {"format":
    "gguf", "quantization": "Q4_K_M", "parameters": "361.82 M", "architecture": "llama", "size": "256.35 MiB", "gguf":
    {"general.name": "…"}, "context_size": 8192}}`. `created` is when the model came here where its packager does not
    say more; `context_size` is left out where none was recorded.
    """
    config: dict[str, JsonValue] = {
        "format": model.config.format,
        "quantization": model.config.quantization,
        "parameters": model.config.parameters,
        "architecture": model.config.architecture,
        "size": model.config.size or format_size(model.size_bytes),
        "gguf": dict(model.config.gguf),
    }
    if model.config.context_size is not None:
        config["context_size"] = model.config.context_size
    created = model.pulled_at or 0 if model.created is None else int(model.created.timestamp())
    return {"id": model.digest, "tags": list(model.tags), "created": created, "config": config}


def _config(facts: GgufFacts, context_size: int | None) -> ModelConfig:
    return ModelConfig(
        format="gguf",
        quantization=facts.quantization,
        parameters=format_parameters(facts.parameters),
        architecture=facts.architecture,
        size=format_size(facts.tensor_bytes),
        gguf=facts.metadata,
        context_size=context_size,
    )


def _read_model(gguf: Path) -> tuple[list[Path], GgufFacts]:
    """Return all files of a model, and the facts about all of it."""
    shards = _shards(gguf)
    facts = [_read_facts(path) for path in shards]
    if facts[0].split_count != len(shards):
        raise InputError(
            f"'{gguf}' is one of {facts[0].split_count} files of a split model, but is not named as such",
            remedy=f"Name the files {gguf.stem}-00001-of-{facts[0].split_count:05d}.gguf and so on",
        )
    return shards, facts[0].with_shards(facts[1:])


def _shards(gguf: Path) -> list[Path]:
    """Return all files of the model whose first file is `gguf`."""
    match = _SHARD.fullmatch(gguf.name)
    if match is None:
        return [gguf]
    count = int(match["count"])
    paths = [gguf.with_name(f"{match['stem']}-{number:05d}-of-{count:05d}.gguf") for number in range(1, count + 1)]
    if int(match["number"]) != 1:
        raise InputError(f"'{gguf}' is not the first file of a split model", remedy=f"Name '{paths[0]}'")
    missing = next((path for path in paths if not path.is_file()), None)
    if missing is not None:
        raise InputError(f"'{gguf}' is one of {count} files, and '{missing}' is not there")
    return paths


def _read_facts(path: Path) -> GgufFacts:
    with _reading(path), path.open("rb") as stream:
        return GgufFacts.parse(stream, name=str(path))


def _checked_text(path: Path) -> Path:
    """Return the path of a small text file."""
    with _reading(path), path.open("rb") as stream:
        data = stream.read(_LARGEST_TEXT_BYTES + 1)
    if len(data) > _LARGEST_TEXT_BYTES:
        raise InputError(f"'{path}' is larger than {_LARGEST_TEXT_BYTES} bytes")
    try:
        data.decode()
    except UnicodeDecodeError as error:
        raise InputError(f"'{path}' is not UTF-8 text") from error
    return path


@contextlib.contextmanager
def _reading(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise InputError(f"'{path}' cannot be read: {error.strerror or error}") from error
