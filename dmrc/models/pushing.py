"""Sends models out of the store to where they are pushed."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

from dmrc.errors import InputError, InvalidReferenceError, RegistryError
from dmrc.models.images import ModelImage, model_image
from dmrc.reference import Reference
from dmrc.sources import Destination, Outgoing, ProgressEvent, Source, Transfer
from dmrc.store import BlobMissingError, Store, StoredModel

PushForm = Literal["model", "image"]
"""As what a model is pushed: as it is, or as a runnable image, which container engines mount."""


@dataclass(frozen=True, slots=True)
class Pushed:
    """What a push did."""

    reference: str
    """Full reference of the model."""
    digest: str
    """`sha256:<64 hex>` of its manifest; pushed as an image, of the image's."""
    size_bytes: int
    """Bytes of its blobs, with those that were there before."""
    seconds: float
    """Time that the push took."""


class Pusher:
    """The store, and the places that take models."""

    def __init__(self, store: Store, sources: Sequence[Source], default_registry: str) -> None:
        """Push from `store` to those of `sources` that are a `Destination`, asked in order."""
        self._store = store
        self._sources = sources
        self._default_registry = default_registry

    def push(self, text: str, transfer: Transfer, form: PushForm = "model") -> Pushed:
        """Push a model; see `Models.push`."""
        started = time.monotonic()
        model = self._store.resolve(text, self._default_registry)
        reference = self._name(text, model)
        destination = self._destination(text)
        for blob in model.manifest.blobs:
            if not self._store.has_blob(blob.digest, blob.size_bytes):
                raise BlobMissingError(f"blob {blob.digest} of model '{text.strip()}' is missing or not whole")
        others = tuple(Reference.parse(tag) for tag in model.tags if tag != str(reference))
        outgoing = Outgoing(reference, model.digest, self._store.document(model), model.manifest, others)
        if form == "image":
            image = self._image(model, reference, transfer)
            outgoing = Outgoing(reference, image.digest, image.document, image.manifest)
            transfer = replace(transfer, sink=image.sink)
        try:
            destination.push(outgoing, transfer)
        except RegistryError as error:
            error.message = f"model '{text.strip()}' cannot be pushed: {error.message}"
            raise
        return Pushed(str(reference), outgoing.digest, outgoing.manifest.size_bytes, time.monotonic() - started)

    def _image(self, model: StoredModel, reference: Reference, transfer: Transfer) -> ModelImage:
        """Read all of a model, for the digest of an image of it."""

        def on_read(done: int) -> None:
            transfer.check()
            transfer.report(ProgressEvent("Hashing", str(reference), min(done, model.size_bytes), model.size_bytes))

        return model_image(self._store, model, on_read)

    def _name(self, text: str, model: StoredModel) -> Reference:
        with contextlib.suppress(InvalidReferenceError):
            reference = Reference.parse(text, default_registry=self._default_registry)
            if reference.digest is None and str(reference) in model.tags:
                return reference
        names = " or ".join(tag for tag in model.tags if "@" not in tag)
        remedy = f"Push it by name: {names}" if names else f"Run: dmrc tag {text.strip()} HOST/NAME"
        raise InputError(f"'{text.strip()}' is not a tag, and a model is pushed under a tag", remedy=remedy)

    def _destination(self, text: str) -> Destination:
        for source in self._sources:
            if source.recognize(text) is not None:
                if isinstance(source, Destination):
                    return source
                raise InputError(
                    f"'{text.strip()}' cannot be pushed: the source '{source.name}' takes no models",
                    remedy=f"Give it the name of a registry: dmrc tag {text.strip()} HOST/NAME",
                )
        raise InputError(f"'{text.strip()}' cannot be pushed: nothing takes models by such a name")
