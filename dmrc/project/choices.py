"""What the top-level `x-dmrc`, and that of a service, may hold, and the words of which one is chosen there."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal, get_args

from dmrc.errors import ProjectError
from dmrc.fields import one_of
from dmrc.settings import CaptureLevel

PROJECT_OPTIONS = ("auth", "capture", "faults", "host", "models", "openai", "plugins", "replay")
"""What the top-level `x-dmrc` may hold."""

SERVICE_OPTIONS = ("default_model", "faults", "openai")
"""What the `x-dmrc` of a service may hold."""

Auth = Literal["key", "address"]
"""How the gateway knows containers."""

OpenAIVariables = Literal["auto", "always", "never"]
"""Which services are given the variables `OPENAI_*`: those that their file lets want them, all, or none."""

_AUTH: tuple[Auth, ...] = get_args(Auth)
_CAPTURE: tuple[CaptureLevel, ...] = get_args(CaptureLevel)
_OPENAI: tuple[OpenAIVariables, ...] = get_args(OpenAIVariables)


def auth(value: object) -> Auth:
    """Return how a project's containers are known; a key where nothing is said.

    Raises:
        ProjectError: It is none of the choices.
    """
    return "key" if value is None else one_of(value, "x-dmrc.auth", _AUTH)


def knows_addresses(document: Mapping[str, object]) -> bool:
    """Return whether a project that is not parsed yet says `x-dmrc: {auth: address}`."""
    options = document.get("x-dmrc")
    return isinstance(options, Mapping) and options.get("auth") == "address"


def any_model(value: object, auth: Auth) -> bool:
    """Return whether a project's services may use models that it does not declare.

    Raises:
        ProjectError: It is none of the choices.
    """
    if value is None or one_of(value, "x-dmrc.models", ("declared", "any")) == "declared":
        return False
    if auth != "address":
        raise ProjectError("x-dmrc.models is 'any' without auth: address", remedy="Write {auth: address, models: any}")
    return True


def openai(value: object, where: str, otherwise: OpenAIVariables) -> OpenAIVariables:
    """Return which services are given `OPENAI_*`; `otherwise` where nothing is said.

    Raises:
        ProjectError: It is none of the choices.
    """
    return otherwise if value is None else one_of(value, where, _OPENAI)


def capture(value: object) -> CaptureLevel | None:
    """Return what is recorded of a project; None where nothing is said.

    Raises:
        ProjectError: It is none of the choices.
    """
    if value is None:
        return None
    # YAML 1.1 reads a bare `off` as false.
    return "off" if value is False else one_of(value, "x-dmrc.capture", _CAPTURE)
