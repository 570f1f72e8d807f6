"""What the store answers with."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from dmrc.artifact import Manifest, ModelConfig
from dmrc.errors import StoreError


class BlobMissingError(StoreError):
    """A blob that a manifest names is not in the store, or not whole."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredModel:
    digest: str
    """`sha256:<64 hex>` of the manifest, the model's ID."""
    tags: tuple[str, ...]
    """Full references: `docker.io/ai/smollm2:latest`, or with `@sha256:…` for a model that was pulled by digest."""
    manifest: Manifest
    """Its manifest."""
    config: ModelConfig
    """Its config."""
    pulled_at: int
    """Unix seconds of the last pull or package; of its manifest's file when another program put it into the store.

    0 for one that is not in the store, and was only looked at where it is.
    """

    @property
    def size_bytes(self) -> int:
        """Return the bytes of its blobs, each counted once."""
        return self.manifest.size_bytes

    @property
    def created(self) -> datetime | None:
        """Return when it was packaged, where its packager says so."""
        return self.config.created


@dataclass(frozen=True, slots=True)
class ModelFiles:
    """Where the files of a model lie."""

    path: Path
    """The GGUF file, the first shard of a split model; for other formats a directory with all files."""
    format: str = "gguf"
    """As its package says."""
    mmproj: Path | None = None
    """The multimodal projector."""
    chat_template: Path | None = None
    """A Jinja chat template that replaces the one in the GGUF file."""
    loras: tuple[Path, ...] = ()
    """LoRA adapters."""


@dataclass(frozen=True, slots=True)
class Removed:
    """What a removal did."""

    untagged: tuple[str, ...]
    """Full references that name nothing any more."""
    deleted: tuple[str, ...]
    """IDs of the models whose files are gone; empty when other tags keep them."""
