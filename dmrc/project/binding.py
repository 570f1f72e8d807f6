"""One model that a service uses."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Binding:
    """One model that a service uses."""

    key: str
    """Key of the model; that of a provider service's model is `SERVICE/MODEL`."""
    endpoint_var: str | None = None
    """Variable that gets the URL; None means `<KEY>_URL`."""
    model_var: str | None = None
    """Variable that gets the model's name; None means `<KEY>_MODEL`."""
    model_value: str | None = None
    """What the model's variable holds, where a provider service has several models; None is this model's own name."""

    @property
    def is_of_provider(self) -> bool:
        """Return whether a service that is a model brings it, and not `models:`."""
        return "/" in self.key

    @property
    def prefix(self) -> str:
        """Return `<KEY>` as Compose writes it: upper case, `-` as `_`, nothing else changed; of a provider its name."""
        return self.key.partition("/")[0].upper().replace("-", "_")
