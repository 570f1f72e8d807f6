"""What a source is that shows a model before it is pulled."""

from __future__ import annotations

from typing import Protocol, runtime_checkable

from dmrc.sources.source import Transfer


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
