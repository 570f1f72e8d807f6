"""What each service is given: dmrc's variables, then those of plugins, and never in place of the user's own."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from dmrc.project.project import Project, Service


@dataclass(frozen=True, slots=True)
class Injection:
    """What one service is given."""

    variables: Mapping[str, str]
    """Variables to set."""
    kept: tuple[str, ...]
    """Variables that dmrc or a plugin would set, and that stay as the user wrote them."""
    added_by: Mapping[str, str] = field(default_factory=dict)
    """For each variable that a plugin added or changed, the name of that plugin."""

    def extended(self, service: Service, more: Mapping[str, str], plugin: str) -> Injection:
        """Return the injection with variables of a plugin; those that the user wrote stay."""
        added = {name: value for name, value in more.items() if name not in service.environment}
        kept = (*self.kept, *(name for name in more if name in service.environment and name not in self.kept))
        added_by = {**self.added_by, **dict.fromkeys(added, plugin)}
        return Injection({**self.variables, **added}, kept, added_by)


def inject(project: Project, service: Service, *, base_url: str, api_key: str) -> Injection:
    """Return the variables for `service`: what Compose would set, then keys, then `OPENAI_*`.

    `base_url` is the gateway's OpenAI route without a slash at its end, `http://host:12434/engines/v1`. Compose's
    own variables get it with one, as Docker Model Runner's endpoint has it.
    """
    variables: dict[str, str] = {}
    kept: list[str] = []
    for binding in service.bindings:
        variables[binding.endpoint_var or f"{binding.prefix}_URL"] = f"{base_url}/"
        name = binding.model_value or project.models[binding.key].model
        variables[binding.model_var or f"{binding.prefix}_MODEL"] = name
    defaults = {f"{binding.prefix}_API_KEY": api_key for binding in service.bindings}
    defaults["OPENAI_BASE_URL"] = base_url
    defaults["OPENAI_API_KEY"] = api_key
    defaults["OPENAI_MODEL"] = project.models[service.first_binding.key].model
    for name, value in defaults.items():
        if name in service.environment:
            kept.append(name)
        else:
            variables.setdefault(name, value)
    return Injection(variables, tuple(kept))
