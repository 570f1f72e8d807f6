"""Getting models into the store, and out of it."""

from __future__ import annotations

import contextlib
import hashlib
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from dmrc.artifact import Manifest, ModelConfig
from dmrc.errors import (
    DigestMismatchError,
    FormatError,
    InputError,
    InvalidReferenceError,
    ModelNotFoundError,
    RegistryError,
)
from dmrc.models.packaging import Packager, Parts
from dmrc.models.pulls import Pulls
from dmrc.reference import DEFAULT_REGISTRY, Reference, is_digest, model_id
from dmrc.secret_names import hidden_in_urls
from dmrc.sources import Connections, Inspectable, Progress, ProgressEvent, Source, Transfer
from dmrc.store import BlobMissingError, Store, StoredModel
from dmrc.store.files import storage_errors
from dmrc.store.lookup import near_name

if TYPE_CHECKING:  # a push needs much that a pull does not
    from dmrc.models.pushing import Pushed, PushForm

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
    not_compared: str | None = None
    """Why the place that it comes from could not be asked for news; the model that is here is good all the same."""


class Models:
    """The store and the sources, joined. Methods block, and are safe in threads and in several processes."""

    def __init__(
        self,
        store: Store,
        sources: Callable[[], Sequence[Source]] = tuple,
        default_registry: str = DEFAULT_REGISTRY,
        command: str = "",
    ) -> None:
        """Bring models from `sources`, asked in order, into `store`, and to those of them that take models.

        They are wanted when something is not here: to import all of them takes longer than to find a model that is.
        `command` says what this process is, to who looks at its pulls from another one.
        """
        self.store = store
        """Where the models are."""
        self.pulls = Pulls(store.root, command)
        """Those that run, whoever started them."""
        self._sources = sources
        self._default_registry = default_registry
        self._connections = Connections()
        self.on_pulled: list[Callable[[Pulled], None]] = []  # told of each model that came

    def pull(
        self,
        text: str,
        progress: Progress | None = None,
        *,
        refresh: bool = False,
        cancelled: Callable[[], bool] | None = None,
        formats: frozenset[str] | None = None,
    ) -> Pulled:
        """Make sure that a model is in the store. One that is there needs no network.

        `formats` are those that the engine of a declaration loads: where its place has the model in several, one of
        these is taken. Without, a GGUF file goes before others. A model that is there never changes its format by that.

        With `refresh` its place is asked whether the tag has moved; where that cannot be asked, what is here is what
        there is. A digest names one model for ever: there can be no news of it.

        Processes that pull the same model take turns, and all but the first find it present.

        Raises:
            ModelNotFoundError: No such model where it should be.
            RegistryError: A registry, or the network, failed, and the model is not here.
            ArtifactError: What is there is no model that can be served.
            FormatError: The model, here or there, is in none of `formats`.
            StoreError: The store cannot be written, or its disk is full.
            CancelledError: `cancelled` returned True; what came is kept for the next pull.
        """
        started = time.monotonic()
        before = self._find(text)
        refresh = refresh and not (before and _names_one_model(text))
        model, came, failure = None if refresh else before, False, None
        if model is None:
            with self.pulls.noted(text, progress or _ignore, cancelled or _never) as told:
                transfer = Transfer(self.store, told.progress, told.cancelled, self._connections, formats)
                model, came, failure = self._bring(text, transfer, before, refresh=refresh)
        if formats is not None and model.config.format not in formats:
            raise FormatError(text.strip(), model.config.format)
        was_present = before is not None and before.digest == model.digest
        name = self._name(text, model)
        pulled = Pulled(name, model.digest, model.size_bytes, time.monotonic() - started, was_present, failure)
        for tell in self.on_pulled if came and not was_present else ():
            tell(pulled)
        return pulled

    def _bring(
        self, text: str, transfer: Transfer, before: StoredModel | None, *, refresh: bool
    ) -> tuple[StoredModel, bool, str | None]:
        """Return the model that its place has, whether it came now, and why its place could not be asked.

        `before` is what is here; that stays where its place cannot be asked.
        """
        source, reference = self._recognize(text)
        with self._turn(reference, transfer):
            model = None if refresh else self._find(text)
            if model is not None:
                return model, False, None
            try:
                with _named(text), self.store.writing():
                    return self._fetch(source, text, reference, transfer), True, None
            except DigestMismatchError:
                raise
            except (RegistryError, ModelNotFoundError) as error:
                if before is None:
                    error.message += near_name(self.store.names(), text)
                if before is None or isinstance(error, ModelNotFoundError):
                    raise
                return before, False, error.message

    def look(self, text: str) -> StoredModel:
        """Return what a model is where it would be pulled from; it comes here by no byte, and has no tags.

        Raises:
            InputError: It is known only when it was pulled, as on Hugging Face.
            ModelNotFoundError: No such model where it should be.
            RegistryError: A registry, or the network, failed.
            ArtifactError: What is there is no model that can be served.
        """
        source, _ = self._recognize(text)
        if not isinstance(source, Inspectable):
            raise InputError(f"model '{text}' can only be shown from the store", remedy="Pull it first")
        with _named(text, "shown"):
            manifest, config = source.look(text, Transfer(self.store, connections=self._connections))
        return StoredModel(
            digest=f"sha256:{hashlib.sha256(manifest).hexdigest()}",
            tags=(),
            manifest=(parsed := Manifest.parse(manifest, name=text)),
            config=ModelConfig.parse(config, name=text).completed(parsed),
            pulled_at=0,
        )

    @property
    def sources(self) -> Sequence[Source]:
        """Return the places that models come from, in the order in which they are asked."""
        return self._sources()

    def push(
        self,
        text: str,
        progress: Progress | None = None,
        *,
        cancelled: Callable[[], bool] | None = None,
        form: PushForm = "model",
    ) -> Pushed:
        """Push a model under one of its names. Until all of it is there, the name means what it meant before.

        Raises:
            ModelNotFoundError: It is not in the store.
            InputError: Nothing takes models by such a name, or it is an ID or a digest.
            BlobMissingError: A file of it is missing; nothing was sent.
            RegistryError: The registry, or the network, failed.
            CancelledError: `cancelled` returned True.
        """
        from dmrc.models.pushing import Pusher

        transfer = Transfer(self.store, progress or _ignore, cancelled or _never, self._connections)
        return Pusher(self.store, self._sources(), self._default_registry).push(text, transfer, form)

    def package(self, parts: Parts, target: str, progress: Progress | None = None) -> StoredModel:
        """Put copies of files into the store as the model `target`. The same parts always give the same ID.

        Raises:
            GgufError: A file is not GGUF.
            InputError: A file cannot be read or used, or `context_size` is less than 1.
            InvalidReferenceError: `target` is no reference, or has a digest.
            StoreError: The store cannot be written, or its disk is full.
        """
        reference = Reference.parse(target, default_registry=self._default_registry)
        return Packager(self.store, progress or _ignore).package(parts, reference)

    def _find(self, text: str) -> StoredModel | None:
        """Return the model when it is here with all its files."""
        try:
            model = self.store.resolve(text, self._default_registry)
        except (ModelNotFoundError, BlobMissingError):
            return None
        has = self.store.has_blob
        return model if all(has(blob.digest, blob.size_bytes) for blob in model.manifest.blobs) else None

    def _recognize(self, text: str) -> tuple[Source, Reference]:
        for source in self._sources():
            reference = source.recognize(text)
            if reference is not None:
                return source, reference
        raise InputError(f"no source of models knows '{text}'", remedy="Run: dmrc plugins")

    def _fetch(self, source: Source, text: str, reference: Reference, transfer: Transfer) -> StoredModel:
        try:
            return self.store.add(source.fetch(text, transfer), [reference])
        except BlobMissingError:
            # Another process removed a model that shares a file with this one, after that file was seen here.
            return self.store.add(source.fetch(text, transfer), [reference])

    @contextlib.contextmanager
    def _turn(self, reference: Reference, transfer: Transfer) -> Iterator[None]:
        """Keep other pulls of the same model out, in this process and in others."""
        import filelock

        directory = self.store.root / "locks"
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


def _names_one_model(text: str) -> bool:
    """Return whether this is an ID, or a reference with a digest."""
    return model_id(text) is not None or is_digest(text.strip().rpartition("@")[2])


@contextlib.contextmanager
def _named(text: str, verb: str = "pulled") -> Iterator[None]:
    """Put the model that was asked for before what a registry's error says: several may be pulled side by side."""
    try:
        yield
    except RegistryError as error:
        error.message = hidden_in_urls(f"model '{text.strip()}' cannot be {verb}: {error.message}")
        raise


def _ignore(_event: ProgressEvent) -> None:
    pass


def _never() -> bool:
    return False
