"""What the top-level `x-dmrc`, and that of a service, may hold, and the words of which one is chosen there."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal, cast, get_args

from dmrc.errors import ProjectError

PROJECT_OPTIONS = ("auth", "capture", "models", "openai", "plugins")
"""What the top-level `x-dmrc` may hold."""

SERVICE_OPTIONS = ("default_model", "openai")
"""What the `x-dmrc` of a service may hold."""

Auth = Literal["key", "address"]
"""How the gateway knows containers."""

OpenAIVariables = Literal["auto", "always", "never"]
"""Which services are given the variables `OPENAI_*`: those that their file lets want them, all, or none."""


def auth(value: object) -> Auth:
    """Return how a project's containers are known; a key where nothing is said.

    Raises:
        ProjectError: It is none of the choices.
    """
    if value in (None, "key"):
        return "key"
    if value == "address":
        return "address"
    raise ProjectError(f"x-dmrc.auth is {value!r}", remedy="Use key or address")


def knows_addresses(document: Mapping[str, object]) -> bool:
    """Return whether a project that is not parsed yet says `x-dmrc: {auth: address}`."""
    options = document.get("x-dmrc")
    return isinstance(options, Mapping) and options.get("auth") == "address"


def any_model(value: object, auth: Auth) -> bool:
    """Return whether a project's services may use models that it does not declare.

    Raises:
        ProjectError: It is none of the choices.
    """
    if value in (None, "declared"):
        return False
    if value != "any":
        raise ProjectError(f"x-dmrc.models is {value!r}", remedy="Use declared or any")
    if auth != "address":
        raise ProjectError("x-dmrc.models is 'any' without auth: address", remedy="Write {auth: address, models: any}")
    return True


def openai(value: object, where: str, otherwise: OpenAIVariables) -> OpenAIVariables:
    """Return which services are given `OPENAI_*`; `otherwise` where nothing is said.

    Raises:
        ProjectError: It is none of the choices.
    """
    if value is None:
        return otherwise
    for known in get_args(OpenAIVariables):
        if value == known:
            return cast(OpenAIVariables, known)
    raise ProjectError(f"{where} is {value!r}", remedy="Use auto, always or never")


def capture(value: object) -> Literal["full", "metadata", "off"] | None:
    """Return what is recorded of a project; None where nothing is said.

    Raises:
        ProjectError: It is none of the choices.
    """
    # YAML 1.1 reads a bare `off` as false.
    if value is None:
        return None
    if value is False or value == "off":
        return "off"
    if value == "full":
        return "full"
    if value == "metadata":
        return "metadata"
    raise ProjectError(f"x-dmrc.capture is {value!r}", remedy="Use full, metadata or off")
