"""Models that are not here: found by a word, and what of them is known before a pull."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import Future
from concurrent.futures import wait as wait_for
from dataclasses import dataclass, replace
from functools import partial

from dmrc.errors import DmrcError, InputError
from dmrc.gguf import GgufFacts
from dmrc.models.models import Models
from dmrc.sources import Transfer
from dmrc.sources.search import SearchAnswer, catalogs, find
from dmrc.sources.variants import ModelVariant, Varied
from dmrc.threads import start_thread

_HEADER_SECONDS = 10.0
_MOST_HEADERS = 4
_USUAL_QUANTIZATION = "Q4_K_M"


@dataclass(frozen=True, slots=True)
class RemoteVariant:
    """A model that can be pulled."""

    variant: ModelVariant
    """Its name and size."""
    facts: GgufFacts | None
    """What its header says, by its own or by that of another one of its family; None where none was read."""


def search_everywhere(models: Models, term: str, limit: int) -> SearchAnswer:
    """Ask all catalogs. It blocks, for 15 seconds at most; who does not answer is among the failures."""
    finders = {one.catalog_title: one.finder() for one in catalogs(models.sources).values()}
    return find(term, limit, finders)


def variants_of(models: Models, name: str) -> list[RemoteVariant]:
    """Return the quantisations of a model of a catalog, with what is needed to plan their memory. It blocks.

    A header of each family is read, for 10 seconds at most: their quantisations differ in the size of weights only.

    Raises:
        InputError: Its place has no catalog.
        ModelNotFoundError: There is no such model.
        RegistryError: The place, or the network on the way to it, failed.
    """
    source = next((one for one in models.sources if one.recognize(name) is not None), None)
    if not isinstance(source, Varied):
        raise InputError(f"nobody tells which quantisations '{name}' has", remedy=f"Run: dmrc pull {name}")
    variants = source.variants(name)
    families: dict[str, list[ModelVariant]] = {}
    for one in variants:
        families.setdefault(one.family, []).append(one)
    read = {family: _usual(members) for family, members in list(families.items())[:_MOST_HEADERS]}
    transfer = Transfer(models.store)
    asked = {family: start_thread(partial(source.header, one.name, transfer), "header") for family, one in read.items()}
    wait_for(asked.values(), timeout=_HEADER_SECONDS)
    headers = {family: (read[family], _facts(future)) for family, future in asked.items()}
    return [RemoteVariant(one, _scaled(one, *headers.get(one.family, (one, None)))) for one in variants]


def _usual(variants: Sequence[ModelVariant]) -> ModelVariant:
    """Return the one whose header is read: the usual one, or the smallest."""
    usual = (one for one in variants if one.quantization == _USUAL_QUANTIZATION)
    return next(usual, None) or min(variants, key=lambda one: one.size_bytes)


def _facts(future: Future[GgufFacts]) -> GgufFacts | None:
    try:
        return future.result(0) if future.done() else None
    except DmrcError:
        return None  # without it nothing is said of the memory


def _scaled(variant: ModelVariant, of: ModelVariant, facts: GgufFacts | None) -> GgufFacts | None:
    """Return the facts of a variant by those of another one: all weights in proportion to the sizes of both."""
    if facts is None or not of.size_bytes or not variant.size_bytes:
        return None
    share = variant.size_bytes / of.size_bytes
    return replace(
        facts,
        tensor_bytes=int(facts.tensor_bytes * share),
        matrix_bytes={kind: int(size * share) for kind, size in facts.matrix_bytes.items()},
        layer_bytes={layer: int(size * share) for layer, size in facts.layer_bytes.items()},
    )
