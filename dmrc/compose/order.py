"""The order in which a service declares its models: Compose sorts it away, and `OPENAI_MODEL` is the first one's."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from dmrc.compose.includes import included_files
from dmrc.compose.tagged import documents, unwrapped
from dmrc.compose.yaml_text import TaggedValue


def restore_order(document: dict[str, object], files: Sequence[Path]) -> None:
    """Put the models of each service in `document` back into the order of the compose files.

    Changes `document`, which is what `docker compose config` printed. What cannot be followed (a remote file, a name
    with a variable in it) stays at the end, sorted. Files are read only where a service has several models.
    """
    services = document.get("services")
    several = {
        name: service
        for name, service in (services.items() if isinstance(services, dict) else ())
        if isinstance(service, dict) and isinstance(service.get("models"), dict) and len(service["models"]) > 1
    }
    if not several:
        return
    order = _declared([*included_files(files), *files])
    for name, service in several.items():
        models = service["models"]
        keys = [key for key in order.get(name, []) if key in models]
        service["models"] = {key: models[key] for key in (*keys, *(key for key in models if key not in keys))}


def _declared(files: Sequence[Path]) -> dict[str, list[str]]:
    """Return the model keys of each service as written."""
    order: dict[str, list[str]] = {}
    for file in files:
        for document in documents(file):
            for name, service in _services(document).items():
                known = order.setdefault(name, [])
                if isinstance(service, TaggedValue):
                    known.clear()
                _add(known, file, document, service, frozenset())
    return order


def _add(
    known: list[str], file: Path, document: Mapping[str, object], service: object, seen: frozenset[tuple[Path, str]]
) -> None:
    """Add the models of a service behind those that are known of it: first of what it extends, then its own."""
    fields = _mapping(unwrapped(service))
    for place, name in _extended(file, fields):
        for base in [document] if place == file else documents(place):
            if (place, name) not in seen and name in _services(base):
                _add(known, place, base, _services(base)[name], seen | {(place, name)})
    models = fields.get("models")
    if isinstance(models, TaggedValue):
        known.clear()
    models = unwrapped(models)
    if isinstance(models, list | dict):  # the short syntax, or the long one
        known += [str(key) for key in models if str(key) not in known]


def _extended(file: Path, fields: Mapping[str, object]) -> Iterator[tuple[Path, str]]:
    """Yield where `extends` leads: a service of the same file, or of another one."""
    extends = fields.get("extends")
    if isinstance(extends, str):
        yield file, extends
    elif isinstance(extends, dict) and isinstance(name := extends.get("service"), str):
        other = extends.get("file")
        yield (file.parent / other).absolute() if isinstance(other, str) else file, name


def _services(document: Mapping[str, object]) -> Mapping[str, object]:
    return _mapping(unwrapped(document.get("services")))


def _mapping(value: object) -> Mapping[str, object]:
    return value if isinstance(value, dict) else {}
