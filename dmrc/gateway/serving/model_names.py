"""Which of the models that a service declares is meant by a name, however it is written."""

from __future__ import annotations

from collections.abc import Iterable

from dmrc.errors import InvalidReferenceError
from dmrc.project import ModelDeclaration, find_model
from dmrc.projects import Caller
from dmrc.reference import Reference


class ModelNames:
    """Reads names as references of a registry."""

    def __init__(self, default_registry: str) -> None:
        """Take `default_registry` for references that name none."""
        self._default_registry = default_registry

    def parse(self, name: str) -> Reference | None:
        """Return the reference that a name is, or None where it is none."""
        try:
            return Reference.parse(name, default_registry=self._default_registry)
        except InvalidReferenceError:
            return None

    def find(self, declared: Iterable[ModelDeclaration], name: str) -> ModelDeclaration | None:
        """Return the model with this key, else with this reference as it is written, else with an equal one."""
        models = list(declared)
        if (found := find_model(models, name)) is not None or (wanted := self.parse(name)) is None:
            return found
        return next((each for each in models if wanted == self.parse(each.model)), None)


def who(caller: Caller) -> str:
    """Return what a message calls a caller."""
    if caller.is_named_key:
        return f"key '{caller.service}'"
    project = f"project '{caller.registration.name}'"
    return f"service '{caller.service}' of {project}" if caller.service else project
