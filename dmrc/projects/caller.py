"""Who a key belongs to."""

from __future__ import annotations

from dataclasses import dataclass

from dmrc.exchange import DIFF_SCOPE, KEY_SCOPE
from dmrc.project import ModelDeclaration
from dmrc.projects.registration import WHOLE_PROJECT, Registration


@dataclass(frozen=True, slots=True)
class Caller:
    """Who a key belongs to."""

    key_id: str | None
    """First 12 hex digits of the key's SHA-256; None for one who is known by its address."""
    service: str | None
    """Compose service; None for the capability path, which all services of the project share."""
    registration: Registration
    """Its project."""

    @property
    def is_named_key(self) -> bool:
        """Return whether a person made the key by `dmrc key create`, and it is no project's."""
        return self.registration.name.startswith(KEY_SCOPE)

    @property
    def is_diff(self) -> bool:
        """Return whether `dmrc diff` asks, which sends recorded requests again."""
        return self.registration.name.startswith(DIFF_SCOPE)

    @property
    def models(self) -> dict[str, ModelDeclaration]:
        """Return the models that the service may use, its default first; one that lists none may use all declared."""
        keys = self.registration.services.get(self.service or WHOLE_PROJECT, self.registration.models)
        return {key: self.registration.models[key] for key in keys}
