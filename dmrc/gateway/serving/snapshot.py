"""The store and what is configured, as they were at one moment."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from dmrc.errors import InvalidReferenceError
from dmrc.project import ServingOptions
from dmrc.reference import Reference
from dmrc.store import Named, find, search

StoreVersions = tuple[tuple[int, int] | None, int]
"""Of the store and of the configurations: see `Store.version` and `Configurations.version`."""


@dataclass(frozen=True, slots=True)
class Snapshot:
    """Nothing in it changes, so that the event loop and threads may read it at the same time."""

    default_registry: str
    """Of references that name none."""
    version: StoreVersions = (None, -1)
    """What it was read of."""
    named: tuple[Named, ...] = ()
    """The models, whether their files are here or not."""
    configured: Mapping[tuple[str | None, str], ServingOptions] = field(default_factory=dict)
    """What was set, by project (None is all) and full name of the model."""

    def find(self, name: str) -> Named | None:
        """Return the model of that name or ID; None where there is none, or it is no name."""
        try:
            return search(self.named, name, self.default_registry)
        except InvalidReferenceError:
            return None

    def get(self, name: str) -> Named:
        """Return the model of that name or ID; not for the event loop, for it looks for names that are near.

        Raises:
            ModelNotFoundError: There is none.
            InvalidReferenceError: It is no name.
        """
        return find(self.named, name, self.default_registry)

    def full_name(self, model: Named, asked: str) -> str:
        """Return the tag that a caller means who asked for a model so: it may have several."""
        try:
            name = str(Reference.parse(asked, default_registry=self.default_registry))
        except InvalidReferenceError:
            name = ""
        return name if name in model.tags else next(iter(model.tags), model.digest)
