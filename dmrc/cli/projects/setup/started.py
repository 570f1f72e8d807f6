"""Which services `docker compose up` is to start, as its arguments name them."""

from __future__ import annotations

import re
from collections.abc import Sequence

from dmrc.cli.projects.setup.replaying import cassettes_meant
from dmrc.errors import NotFoundError
from dmrc.project import Project, Service
from dmrc.suggestions import did_you_mean

_WITH_VALUE = frozenset(
    ("--attach", "--exit-code-from", "--no-attach", "--pull", "--scale", "--timeout", "--wait-timeout")
)
"""Options that a value follows. Source: https://github.com/docker/compose/blob/main/cmd/compose/up.go"""
_SHORT_DETACH = re.compile(r"-[a-zA-Z]*d[a-zA-Z]*")
_SHORT_WITH_VALUE = re.compile(r"-[a-zA-Z]*t")


def words(arguments: Sequence[str]) -> list[str]:
    """Return the arguments that are neither options nor values of options: names of services."""
    before = ("", *arguments)
    return [
        word for last, word in zip(before, arguments, strict=False) if not word.startswith("-") and not _opens(last)
    ]


def started(project: Project, arguments: Sequence[str]) -> tuple[Service, ...]:
    """Return the services that these arguments start: those named with all that they depend on, or all.

    Raises:
        NotFoundError: One is not of the project.
    """
    named = words(arguments)
    for name in named:
        if name not in project.services:
            raise NotFoundError(
                f"project '{project.name}' has no service '{name}'{did_you_mean(name, project.services)}",
                remedy=cassettes_meant(project, name) or f"Services: {', '.join(project.services)}",
            )
    if not named:
        return tuple(project.services.values())
    return project.with_dependencies(named) if "--no-deps" not in arguments else project.only(named)


def containers(starting: Sequence[Service], arguments: Sequence[str]) -> dict[str, int]:
    """Return how many containers each of these services is to have, as its file or `--scale` says."""
    numbers = {service.name: service.containers for service in starting}
    for last, word in zip(("", *arguments), arguments, strict=False):
        value = word if last == "--scale" else word.removeprefix("--scale=") if word.startswith("--scale=") else ""
        name, _, number = value.partition("=")
        if name in numbers and number.isdecimal():
            numbers[name] = int(number)
    return numbers


def for_compose(project: Project, arguments: Sequence[str]) -> list[str] | None:
    """Return the arguments without the names of provider services, which are no containers; None where nothing is left.

    Without a name Compose would start all.
    """
    named = words(arguments)
    providers = {name for name in named if project.services[name].provides}
    if providers and providers == set(named):
        return None
    return [word for word in arguments if word not in providers]


def returns_by_itself(arguments: Sequence[str]) -> bool:
    """Return whether `docker compose up` ends when the containers run, and not when they end."""
    return any(
        word in ("--detach", "--wait", "--no-start") or _SHORT_DETACH.fullmatch(word) is not None for word in arguments
    )


def _opens(word: str) -> bool:
    return word in _WITH_VALUE or _SHORT_WITH_VALUE.fullmatch(word) is not None
