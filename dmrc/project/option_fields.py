"""A field of `ServingOptions`: what is known of it beside its type, and how a compose file's value is read."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal
from urllib.parse import urlsplit, urlunsplit

from dmrc.errors import InputError, ProjectError
from dmrc.fields import JsonValue, mapping, plain, text
from dmrc.paths import expanded
from dmrc.secret_names import secrets_in_urls

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


@dataclass(frozen=True, slots=True)
class FieldPlace:
    """Where a value stands in a compose file."""

    where: str
    """For messages: `models.llm.x-dmrc.lora`."""
    directory: Path
    """What a relative path in it begins at."""
    model: str
    """`model` of the _same entry."""


FieldReader = Callable[[object, FieldPlace], Any]
"""Checks the value of a compose file, which is never None, and returns it as its field holds it."""


@dataclass(frozen=True, slots=True)
class OptionField:
    """What is known of one field, beside its type."""

    written: str
    """Its name in a compose file."""
    section: Literal["", "x-dmrc"]
    """Whether it stands under the model itself, or under its `x-dmrc`."""
    read: FieldReader | None
    """How a compose file's value is read; None: no compose file has it, only `dmrc configure`."""
    file: Literal["", "any", "text", "model"]
    """Whether it names files, which must be the project's: any ones, texts, or models, which may be directories.

    What is not a path is a reference.
    """
    is_local: bool
    """Whether it has no effect on a model that another server serves."""
    names_runner: bool
    """Whether a runner with another value is another runner."""
    to_json: Callable[[Any], JsonValue]
    """Its form in JSON."""
    from_json: Callable[[Any], Any]
    """And back."""


def _same(value: Any) -> Any:
    return value


def described(
    read: FieldReader | None = None,
    *,
    written: str = "",
    section: Literal["", "x-dmrc"] = "x-dmrc",
    file: Literal["", "any", "text", "model"] = "",
    is_local: bool = False,
    names_runner: bool = True,
    to_json: Callable[[Any], JsonValue] = _same,
    from_json: Callable[[Any], Any] = _same,
) -> dict[str, OptionField]:
    """Return the metadata of a field of `ServingOptions`: see `OptionField`."""
    return {"option": OptionField(written, section, read, file, is_local, names_runner, to_json, from_json)}


def checked_by(check: Callable[[object, str], Any]) -> FieldReader:
    """Return a reader that needs the name of the place only."""
    return lambda value, place: check(value, place.where)


def without_secrets(reference: str) -> str:
    """Return a reference; of a URL without a login and parameters, which are for the server that has it."""
    parts = urlsplit(reference) if "://" in reference else None
    if parts is None or not (secrets_in_urls(reference) or parts.username):
        return reference
    return urlunsplit((parts.scheme, parts.netloc.rpartition("@")[2], parts.path, "", ""))


def is_path(name: str) -> bool:
    """Return whether a LoRA adapter or a draft is a file of the project, and not a reference."""
    return Path(name).is_absolute()


def project_path(value: object, place: FieldPlace) -> str:
    """Read a path; a relative one begins at the project's directory.

    Raises:
        ProjectError: It is none.
    """
    try:
        return str((place.directory / expanded(text(value, place.where))).absolute())
    except InputError as error:
        raise ProjectError(f"{place.where}: {error.message}", remedy=error.remedy) from error


def path_or_reference(value: object, place: FieldPlace) -> str:
    """Read a path or a reference; as in Compose's volumes a path begins with `.`, `/` or `~`."""
    name = text(value, place.where).strip()
    return project_path(name, place) if name.startswith((".", "/", "~")) else name


def paths_or_references(value: object, place: FieldPlace) -> tuple[str, ...] | None:
    """Read one or several of them; None where the list is empty."""
    return tuple(path_or_reference(one, place) for one in (value if isinstance(value, list) else [value])) or None


def share(value: object, where: str) -> float:
    """Return a share of something: a number above 0 and up to 1.

    Raises:
        ProjectError: It is something else.
    """
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value <= 1:
        raise ProjectError(f"{where} must be a number above 0 and up to 1, not {value!r}", remedy="Write 0.8")
    return float(value)


def overrides(value: object, where: str) -> str:
    """Return what replaces entries of a model's configuration, as JSON.

    Names are those of Python attributes, as in Docker Model Runner.
    Source: https://github.com/docker/model-runner/blob/main/pkg/inference/hf_overrides.go

    Raises:
        ProjectError: It is no mapping, or a name in it is none.
    """
    found = plain(mapping(value, where), where)
    _check_names(found, where)
    return json.dumps(found, sort_keys=True)


def _check_names(value: JsonValue, where: str) -> None:
    if isinstance(value, dict):
        for name, inner in value.items():
            if not _NAME.fullmatch(name):
                raise ProjectError(f"{where} has the name '{name}'", remedy="Names have letters, digits and _ only")
            _check_names(inner, f"{where}.{name}")
    elif isinstance(value, list):
        for inner in value:
            _check_names(inner, where)
