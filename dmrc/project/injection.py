"""What each service is given: dmrc's variables, then those of plugins, and never in place of the user's own."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from dmrc.project.access import Access
from dmrc.project.binding import Binding
from dmrc.project.model import own_names
from dmrc.project.project import Project
from dmrc.project.service import Service

_URL, _KEY, _MODEL = "OPENAI_BASE_URL", "OPENAI_API_KEY", "OPENAI_MODEL"
_OPENAI = (_URL, _KEY, _MODEL)
URL_NAMES = (_URL, "OPENAI_API_BASE")
"""Variables from which OpenAI's clients take the base URL; the second is the older name, and LangChain's."""

Way = Literal["short", "own names", "OpenAI's names"]
"""How a service declares its models; a provider of type model names the variables itself."""

_WHY: dict[Way, str] = {
    "short": "models: in the short syntax",
    "own names": "endpoint_var or model_var with names of its own",
    "OpenAI's names": "endpoint_var or model_var with the names that OpenAI's clients read",
}
_BY_ADDRESS = "x-dmrc: {auth: address}, and no models: of its own"
_NO_KEY = (
    "applications that name their own variables take it for 'use OpenAI itself'; the URL holds the key "
    "(x-dmrc: {openai: always} sets it)"
)


@dataclass(frozen=True, slots=True)
class Injection:
    """What one service is given."""

    variables: Mapping[str, str]
    """Variables to set."""
    kept: tuple[str, ...] = ()
    """Variables that dmrc or a plugin would set, and that stay as the user wrote them."""
    added_by: Mapping[str, str] = field(default_factory=dict)
    """For each variable that a plugin added or changed, the name of that plugin."""
    why: str = ""
    """The way in which the file declares the service's models, which decides what it is given."""
    not_set: Mapping[str, str] = field(default_factory=dict)
    """The variables that it is not given, and does not have itself, each with the reason."""
    replaced: tuple[str, ...] = ()
    """Variables of the user in whose place `models:` puts its own: `endpoint_var`, `model_var`, `<KEY>_URL`, …"""

    def extended(self, service: Service, more: Mapping[str, str], plugin: str) -> Injection:
        """Return the injection with variables of a plugin; those that the user wrote stay."""
        added = {name: value for name, value in more.items() if name not in service.environment}
        kept = (*self.kept, *(name for name in more if name in service.environment and name not in self.kept))
        added_by = {**self.added_by, **dict.fromkeys(added, plugin)}
        not_set = {name: reason for name, reason in self.not_set.items() if name not in added}
        return Injection({**self.variables, **added}, kept, added_by, self.why, not_set, self.replaced)


def inject(project: Project, service: Service, access: Access) -> Injection:
    """Return the variables for `service`: what Compose would set, then keys, then `OPENAI_*`.

    Those of Compose replace what the user wrote, as they do there. Of the others a variable that the user wrote stays,
    unless it is empty: `OPENAI_BASE_URL: ${X}` without X says nothing.
    """
    proxies = access.no_proxy(service.environment)
    if not service.bindings:
        return Injection(proxies, why=_BY_ADDRESS)
    of_compose = _of_compose(project, service, access)
    wanted = _wanted(project, service, access)
    refused = _refused(service, access, of_compose)
    kept = tuple(name for name in wanted if service.environment.get(name) and name not in of_compose)
    given = {name: value for name, value in wanted.items() if name not in (*of_compose, *refused, *kept)}
    not_set = {name: reason for name, reason in refused.items() if name not in (*kept, *of_compose)}
    own = service.environment
    replaced = tuple(name for name, value in of_compose.items() if own.get(name) and own[name] != value)
    return Injection({**of_compose, **given, **proxies}, kept, {}, _why(service), not_set, replaced)


def _of_compose(project: Project, service: Service, access: Access) -> dict[str, str]:
    """Return what Compose itself would set: the URL with the key in its path, for it cannot set a key beside it."""
    names = _names(project, service)
    variables = {}
    for binding in service.bindings:
        # With a slash at its end, as Docker Model Runner's endpoint has it.
        variables[binding.endpoint_var or f"{binding.prefix}_URL"] = f"{access.capability_url}/"
        variables[binding.model_var or f"{binding.prefix}_MODEL"] = binding.model_value or names[binding.key]
    return variables


def _wanted(project: Project, service: Service, access: Access) -> dict[str, str]:
    """Return what is set beside that, where nothing speaks against it."""
    variables = {
        f"{binding.prefix}_API_KEY": access.key
        for binding in service.bindings
        if not (binding.endpoint_var or binding.model_var)
    }
    sends_our_key = _way(service.bindings) == "short" and not service.environment.get(_KEY)
    variables[_URL] = access.plain_url if sends_our_key else access.capability_url
    variables[_KEY] = access.key
    variables[_MODEL] = _names(project, service)[service.first_binding.key]
    return variables


def _refused(service: Service, access: Access, of_compose: Mapping[str, str]) -> dict[str, str]:
    """Return which of `OPENAI_*` the service is not given, and why."""
    if service.openai == "never":
        return dict.fromkeys(_OPENAI, "x-dmrc: {openai: never}")
    for name in URL_NAMES:
        url = service.environment.get(name)
        if url and name not in of_compose and not access.is_ours(url):
            return dict.fromkeys(_OPENAI, f"{name} of the project is another server's, for which our key is not meant")
    if service.openai == "always" or _way(service.bindings) != "own names":
        return {}
    if service.environment.get(_KEY):
        return dict.fromkeys(_OPENAI, f"{_KEY} of the project is another server's, which its application then asks")
    return {_KEY: _NO_KEY}


def _way(bindings: Sequence[Binding]) -> Way:
    endpoints = {binding.endpoint_var for binding in bindings}
    models = {binding.model_var for binding in bindings}
    if _MODEL in models or not endpoints.isdisjoint(URL_NAMES):
        return "OpenAI's names"
    return "short" if endpoints | models == {None} else "own names"


def _why(service: Service) -> str:
    """Return how the service declares its models, in words."""
    own = [binding for binding in service.bindings if not binding.is_of_provider]
    declared = [_WHY[_way(own)]] if own else []
    of_provider = ["depends_on a service that is a model"] if len(own) < len(service.bindings) else []
    return ", and ".join([*declared, *of_provider])


def _names(project: Project, service: Service) -> dict[str, str]:
    """Return what the service calls each of its models, by their keys."""
    models = [project.models[key] for key in service.model_keys]
    return {model.key: name for name, model in own_names(models).items()}
