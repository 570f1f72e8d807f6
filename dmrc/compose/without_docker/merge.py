"""Several compose files made one, and the short forms of a service made long, as Compose does it.

Source: https://docs.docker.com/reference/compose-file/merge/
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from decimal import Decimal

from dmrc.errors import ProjectError

BOOLEANS = {"true": True, "y": True, "yes": True, "on": True, "false": False, "n": False, "no": False, "off": False}
"""What Compose takes for a boolean where a string stands, in lower case."""

_STARTED = {"condition": "service_started", "required": True}


def merge_files(base: dict[str, object], override: dict[str, object]) -> dict[str, object]:
    """Return `base` with the next file's `override` on top.

    Mappings are merged, lists get what they lack, anything else is replaced; a null changes
    nothing. `environment`, `models`, `depends_on` and `env_file` merge in either of their forms.

    Raises:
        ProjectError: One file has a mapping or a list where the other has something else.
    """
    return _merge_mappings(base, override, ())


def _merge_mappings(base: dict[str, object], override: dict[str, object], path: tuple[str, ...]) -> dict[str, object]:
    """Merge two mappings that stand under `path`."""
    merged = dict(base)
    for key, value in override.items():
        merged[key] = _merge(base[key], value, (*path, key)) if key in base else value
    return merged


def _merge(base: object, override: object, path: tuple[str, ...]) -> object:
    """Merge two values that stand under `path`."""
    if len(path) == 3 and path[0] == "services" and path[2] in _SPECIAL:
        return _SPECIAL[path[2]](base, override, path)
    if override is None:
        return base
    if isinstance(base, dict):
        if not isinstance(override, dict):
            raise _cannot_override(path)
        return _merge_mappings(base, override, path)
    if isinstance(base, list):
        if not isinstance(override, list):
            raise _cannot_override(path)
        return base + [item for item in override if item not in base]
    return override


def _merge_environment(base: object, override: object, path: tuple[str, ...]) -> object:
    """Merge two environments in either form, by key."""
    entries = _entries(base) + _entries(override)
    if not all(isinstance(entry, str) for entry in entries):
        raise ProjectError(f"{'.'.join(path)} must hold strings")
    return list({str(entry).partition("=")[0]: entry for entry in entries}.values())


def _entries(environment: object) -> list[object]:
    """Return an environment in its list form: `["A=1", "B"]`."""
    if isinstance(environment, dict):
        pairs = environment.items()
        return [key if value is None else f"{key}={as_text(value)}" for key, value in pairs]
    return list(environment) if isinstance(environment, list) else []


def _merge_as_mapping(base: object, override: object, path: tuple[str, ...]) -> object:
    """Merge two `models` or two `depends_on`, in either form."""
    fill = _STARTED if path[-1] == "depends_on" else None
    values = [expand_list(value, fill) if value is not None else {} for value in (base, override)]
    first, second = values
    if not isinstance(first, dict) or not isinstance(second, dict):
        raise ProjectError(f"{'.'.join(path)} must be a list of names or a mapping")
    return _merge_mappings(first, second, path)


def _merge_env_file(base: object, override: object, _path: tuple[str, ...]) -> object:
    """Merge two `env_file`; a file named twice counts once, in the later form."""
    both = [expand_env_file(value) if value is not None else [] for value in (base, override)]
    merged: dict[object, object] = {}
    for value in both:
        for entry in value if isinstance(value, list) else [value]:
            merged[entry.get("path") if isinstance(entry, dict) else repr(entry)] = entry
    return list(merged.values())


def _take_override(base: object, override: object, _path: tuple[str, ...]) -> object:
    """Take either: all that matters of these is whether they are there."""
    return base if override is None else override


_SPECIAL: dict[str, Callable[[object, object, tuple[str, ...]], object]] = {
    "environment": _merge_environment,
    "models": _merge_as_mapping,
    "depends_on": _merge_as_mapping,
    "env_file": _merge_env_file,
    "build": _take_override,
    "networks": _take_override,
}
"""Keys of a service whose values merge by a rule of their own."""


def expand_list(value: object, fill: dict[str, object] | None) -> object:
    """Return the mapping that a list of names is short for; anything else as it is."""
    if isinstance(value, list) and all(isinstance(name, str) for name in value):
        return {str(name): None if fill is None else dict(fill) for name in value}
    return value


def expand_env_file(value: object) -> object:
    """Return an `env_file` as a list of `{path: …, required: true, …}`."""
    entries = [value] if isinstance(value, str) else value
    if not isinstance(entries, list):
        return value
    expanded: list[object] = []
    for entry in entries:
        if isinstance(entry, str):
            expanded.append({"path": entry, "required": True})
        else:
            expanded.append({"required": True, **entry} if isinstance(entry, dict) else entry)
    return expanded


def expand_service(service: dict[str, object]) -> dict[str, object]:
    """Return a valid service with the short forms of `models`, `depends_on` and `env_file` made long."""
    result = dict(service)
    if "models" in result:
        result["models"] = expand_list(result["models"], None)
    if "env_file" in result:
        result["env_file"] = expand_env_file(result["env_file"])
    depends_on = expand_list(result.get("depends_on"), _STARTED)
    if isinstance(depends_on, dict):
        result["depends_on"] = {
            name: {**_STARTED, **{key: _boolean(value) for key, value in entry.items()}}
            for name, entry in depends_on.items()
            if isinstance(entry, dict)
        }
    return result


def _boolean(value: object) -> object:
    """Return the boolean that a string, as interpolation leaves it, stands for."""
    return BOOLEANS.get(value.lower(), value) if isinstance(value, str) else value


def as_text(value: object) -> str:
    """Return a YAML scalar as the text that Compose puts into an environment variable.

    Shape:
        true → `true`, 1.50 → `1.5`, 1e3 → `1000`, 1e6 → `1e+06`, 2024-01-01 → `2024-01-01 00:00:00 +0000 UTC`.
        Source: Go's fmt verb %v, https://pkg.go.dev/fmt
    """
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float):
        return _float_text(value)
    if isinstance(value, datetime):
        zone = value.strftime("%z")
        fraction = f".{value.microsecond:06}".rstrip("0") if value.microsecond else ""
        return f"{value:%Y-%m-%d %H:%M:%S}{fraction} {zone} {'UTC' if zone == '+0000' else zone}"
    return str(value)


def _float_text(value: float) -> str:
    """Return the shortest text of a float, with an exponent below 1e-4 and from 1e6 on."""
    number = Decimal(repr(value)).normalize()
    exponent = number.adjusted()
    if value == 0 or -4 <= exponent < 6:
        return f"{number:f}"
    sign, digits, _ = number.as_tuple()
    mantissa = str(digits[0]) + ("." + "".join(map(str, digits[1:])) if len(digits) > 1 else "")
    return f"{'-' if sign else ''}{mantissa}e{'-' if exponent < 0 else '+'}{abs(exponent):02}"


def _cannot_override(path: tuple[str, ...]) -> ProjectError:
    """Refuse two files that give a key values of different kinds."""
    return ProjectError(
        f"{'.'.join(path)} is of one kind in one file and of another in the next",
        remedy="Write both as a mapping, or both as a list",
    )
