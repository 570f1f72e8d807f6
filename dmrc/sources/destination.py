"""What a source is that takes models, too."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from dmrc.artifact import Manifest
from dmrc.reference import Reference
from dmrc.sources.source import Transfer


@dataclass(frozen=True, slots=True)
class Outgoing:
    """A model on its way out of the store."""

    reference: Reference
    """Under which name it goes; it has a tag."""
    digest: str
    """`sha256:<64 hex>` of its manifest."""
    document: bytes
    """The manifest, as it is stored."""
    manifest: Manifest
    """The same, read."""
    known_as: tuple[Reference, ...] = ()
    """Its other names. Where they are, its blobs may be already."""


@runtime_checkable
class Destination(Protocol):
    """A source that takes models, too: one with this method. It is for the references that it recognizes."""

    name: str
    """For messages: `oci`."""

    def push(self, model: Outgoing, transfer: Transfer) -> None:
        """Send the blobs, which are read from `transfer.sink`, and last the manifest. Blocks.

        Until all blobs are there, the name stays what it was.

        Raises:
            RegistryError: The place, or the network on the way to it, failed.
            StoreError: A blob is not in the store any more.
            CancelledError: `transfer.cancelled` said so.
        """
