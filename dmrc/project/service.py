"""A service of a compose project, as far as models concern it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from dmrc.fields import JsonValue
from dmrc.project.binding import Binding
from dmrc.project.choices import OpenAIVariables
from dmrc.project.fault_plan import FaultPlan


@dataclass(frozen=True, slots=True)
class Service:
    """One service, as far as models concern it."""

    name: str
    """Its name."""
    bindings: tuple[Binding, ...] = ()
    """The models that it uses, in the order declared."""
    environment: Mapping[str, str | None] = field(default_factory=dict)
    """What the user wrote under `environment:` and `env_file:`."""
    network_mode: str | None = None
    """`network_mode`, as written."""
    default_model: str | None = None
    """Key that `OPENAI_MODEL` names, where the user chose one."""
    openai: OpenAIVariables = "auto"
    """Whether it is given `OPENAI_*` (`x-dmrc: {openai: …}` of its own, else the project's)."""
    extensions: Mapping[str, JsonValue] = field(default_factory=dict)
    """Its fields `x-dmrc-…`, by name: what plugins are told of this service, `{"x-dmrc-limits": {…}}`."""
    depends_on: tuple[str, ...] = ()
    """Services that Compose starts before it; their networks and volumes may be its own."""
    provides: tuple[str, ...] = ()
    """Keys of its models, where it is a provider service and no program."""
    gateway_host: str | None = None
    """What its own `extra_hosts` says the gateway's name means; None where it says nothing of it."""
    containers: int = 1
    """How many containers of it start (`scale`, or `deploy: {replicas: …}`); none of a provider service."""
    faults: FaultPlan | None = None
    """Which of its requests fail on purpose; None leaves it to the project."""

    @property
    def first_binding(self) -> Binding:
        """Return the binding that `OPENAI_MODEL` names."""
        return next((b for b in self.bindings if b.key == self.default_model), self.bindings[0])

    @property
    def model_keys(self) -> tuple[str, ...]:
        """Return the keys of its models, that of `OPENAI_MODEL` first; of none where it uses none."""
        first = self.first_binding.key if self.bindings else None
        return tuple(sorted((binding.key for binding in self.bindings), key=lambda key: key != first))
