"""Models in the index by the names that people write, whether their files are here or not."""

from __future__ import annotations

from collections.abc import Sequence

from dmrc.errors import ModelNotFoundError
from dmrc.reference import Reference, model_id
from dmrc.store.layout import Named
from dmrc.store.model import BlobMissingError, StoredModel


def name_of(model: StoredModel | Named) -> str:
    """Return what people call a model; its ID where it has no tag."""
    return Reference.parse(model.tags[0]).display() if model.tags else model.digest


def missing(digest: str, model: StoredModel | Named) -> BlobMissingError:
    """Return the error for a blob of a model that is not there, or not whole."""
    name = name_of(model)
    remedy = f"Run: dmrc pull {name}" if model.tags else f"Run: dmrc rm {name}"
    return BlobMissingError(f"blob {digest} of model '{name}' is missing or not whole", remedy=remedy)


def find(models: Sequence[Named], text: str, default_registry: str) -> Named:
    """Return the model that a reference or an ID names, whether its files are here or not.

    Raises:
        ModelNotFoundError: There is none.
        InvalidReferenceError: `text` is neither.
    """
    name, prefix = text.strip(), model_id(text)
    for model in models:
        if prefix is not None and model.digest.startswith(f"sha256:{prefix}"):
            return model
    if prefix is not None and len(prefix) == 64:
        raise ModelNotFoundError(f"model '{name}' is not in the store", remedy="Run: dmrc list")
    reference = Reference.parse(text, default_registry=default_registry)
    for model in models:
        if str(reference) in model.tags or reference.digest == model.digest:
            return model
    remedy = f"Run: dmrc pull {name}" if prefix is None else "Run: dmrc list"
    raise ModelNotFoundError(f"model '{name}' is not in the store", remedy=remedy)
