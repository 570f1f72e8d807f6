"""What a source is that shows a model before it is pulled."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol, TypeVar, runtime_checkable

from dmrc.artifact import Descriptor
from dmrc.sources.download import DownloadOrigin
from dmrc.sources.source import Transfer

_Made = TypeVar("_Made")


@runtime_checkable
class Inspectable(Protocol):
    """A source with this method, too. It is for the references that it recognizes."""

    def look(self, text: str, transfer: Transfer) -> tuple[bytes, bytes]:
        """Return the manifest and the config of a model, and bring nothing. Blocks.

        Raises:
            ModelNotFoundError: There is no such model.
            RegistryError: The place, or the network on the way to it, failed.
            ArtifactError: There is something by that name, but no model that can be served.
        """


@dataclass(frozen=True, slots=True)
class RemoteModel:
    """A model where it would be pulled from."""

    manifest: bytes
    """Its manifest."""
    config: bytes
    """Its config."""
    origin: Callable[[Descriptor], DownloadOrigin]
    """Where the bytes of a layer come from, in ranges."""


@runtime_checkable
class Readable(Protocol):
    """A source with this method, too: of its models any bytes can be read without a pull."""

    def read(self, text: str, transfer: Transfer, use: Callable[[RemoteModel], _Made], /) -> _Made:
        """Return what `use` makes of a model, which it may read as long as it runs. Blocks; raises as `look` does."""
