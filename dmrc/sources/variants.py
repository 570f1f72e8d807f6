"""What one name of a catalog stands for: the same model in several quantisations, or sizes."""

from __future__ import annotations

import io
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from dmrc.gguf import GgufFacts
from dmrc.sources.beginning import Beginning
from dmrc.sources.download import DownloadOrigin
from dmrc.sources.source import Transfer


@dataclass(frozen=True, slots=True)
class ModelVariant:
    """One that can be pulled."""

    name: str
    """As `dmrc pull` takes it: `ai/smollm2:135M-Q4_K_M`, `hf.co/org/repository:Q4_K_M`."""
    quantization: str
    """`Q4_K_M`; empty where its name does not say."""
    size_bytes: int
    """Of all its files; 0 where its place does not say."""
    family: str = ""
    """Those of one family differ in their quantisation only: `135M`."""


@runtime_checkable
class Varied(Protocol):
    """A source with a catalog, too: it tells what a name of its catalog stands for. Methods block."""

    def variants(self, text: str) -> list[ModelVariant]:
        """Return all quantisations and sizes of a model.

        Raises:
            ModelNotFoundError: There is no such model.
            RegistryError: The place, or the network on the way to it, failed.
        """

    def header(self, text: str, transfer: Transfer) -> GgufFacts:
        """Return what the header of one of them says, and bring no more of it than that.

        Raises:
            ModelNotFoundError: There is no such model.
            ArtifactError: It is no GGUF.
            RegistryError: The place, or the network on the way to it, failed.
        """


def header_of(origin: DownloadOrigin, size_bytes: int, name: str) -> GgufFacts:
    """Return what the header of a GGUF file elsewhere says; `name` is how errors call it.

    Raises:
        GgufError: It is no GGUF.
    """
    return GgufFacts.parse(io.BufferedReader(Beginning(origin, size_bytes)), name=name)
