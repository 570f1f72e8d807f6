"""Models in the index by the names that people write, whether their files are here or not."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from dmrc.errors import ModelNotFoundError
from dmrc.reference import DEFAULT_REGISTRY, Reference, model_id
from dmrc.store.layout import Named
from dmrc.store.model import BlobMissingError, StoredModel
from dmrc.suggestions import likeness, suggested

_LEAST_LIKENESS = 0.75


def name_of(model: StoredModel | Named) -> str:
    """Return what people call a model; its ID where it has no tag."""
    return Reference.parse(model.tags[0]).display() if model.tags else model.digest


def missing(digest: str, model: StoredModel | Named) -> BlobMissingError:
    """Return the error for a blob of a model that is not there, or not whole."""
    name = name_of(model)
    remedy = f"Run: dmrc pull {name}" if model.tags else f"Run: dmrc rm {name}"
    return BlobMissingError(f"blob {digest} of model '{name}' is missing or not whole", remedy=remedy)


def search(models: Sequence[Named], text: str, default_registry: str) -> Named | None:
    """Return the model that a reference or an ID names, whether its files are here or not; None where there is none.

    Raises:
        InvalidReferenceError: `text` is neither.
    """
    prefix = model_id(text)
    for model in models if prefix is not None else ():
        if model.digest.startswith(f"sha256:{prefix}"):
            return model
    if prefix is not None and len(prefix) == 64:
        return None
    reference = Reference.parse(text, default_registry=default_registry)
    full, digest = str(reference), reference.digest
    return next((model for model in models if full in model.tags or digest == model.digest), None)


def find(models: Sequence[Named], text: str, default_registry: str) -> Named:
    """Do what `search` does, and look for names that are near where there is none, which takes a while among many.

    Raises:
        ModelNotFoundError: There is none.
        InvalidReferenceError: `text` is neither.
    """
    found = search(models, text, default_registry)
    if found is not None:
        return found
    name, prefix = text.strip(), model_id(text)
    if prefix is not None and len(prefix) == 64:
        raise ModelNotFoundError(f"model '{name}' is not in the store", remedy="Run: dmrc list")
    reference = Reference.parse(text, default_registry=default_registry)
    known = [tag for model in models for tag in model.tags]
    near = near_name(known, name)
    is_misspelt = near != "" and _last(reference) not in map(_last, map(Reference.parse, known))
    remedy = "Run: dmrc list" if prefix is not None or is_misspelt else f"Run: dmrc pull {name}"
    raise ModelNotFoundError(f"model '{name}' is not in the store{near}", remedy=remedy)


def near_name(tags: Iterable[str], text: str) -> str:
    """Return ` (did you mean 'ai/smollm2:135M-Q4_0'?)` where one of these models has a name like `text`, else nothing.

    A name is near by its last part: the tag and the organisation are what people leave out and mistake.
    """
    wanted = Reference.parse(text)

    def likenesses(tag: str) -> tuple[float, ...]:
        known = Reference.parse(tag)
        pairs = (
            (_last(wanted), _last(known)),
            (wanted.repository, known.repository),
            (wanted.tag or "", known.tag or ""),
        )
        return tuple(likeness(*pair) for pair in pairs)

    best = max(tags, key=likenesses, default=None)
    if best is None or likenesses(best)[0] < _LEAST_LIKENESS:
        return ""
    return suggested(best.removeprefix(f"{DEFAULT_REGISTRY}/").removesuffix(":latest"))


def _last(reference: Reference) -> str:
    return reference.repository.rpartition("/")[2]
