"""The order in which a service declares its models: Compose sorts it away, and `OPENAI_MODEL` is the first one's."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from dmrc.compose import yaml_text
from dmrc.errors import ProjectError


def restore_order(document: dict[str, object], files: Sequence[Path]) -> None:
    """Put the models of each service in `document` back into the order of the compose files.

    Changes `document`, which is what `docker compose config` printed. What comes from elsewhere (`extends`,
    `include`) stays at the end, sorted. Files are read only where a service has several models.
    """
    services = document.get("services")
    several = {
        name: service["models"]
        for name, service in (services.items() if isinstance(services, dict) else ())
        if isinstance(service, dict) and isinstance(service.get("models"), dict) and len(service["models"]) > 1
    }
    if not several:
        return
    try:
        order = _declared([value for file in files for value in yaml_text.read(file.read_text(), str(file))])
    except ProjectError:
        return  # a tag that only Compose understands (`!reset`): its own order must do
    for name, models in several.items():
        keys = [key for key in order.get(name, []) if key in models]
        keys += [key for key in models if key not in keys]
        document_service = services[name] if isinstance(services, dict) else {}
        document_service["models"] = {key: models[key] for key in keys}


def _declared(documents: Sequence[object]) -> dict[str, list[str]]:
    """Return the model keys of each service as written, in the short syntax (a list) or the long one (a mapping)."""
    order: dict[str, list[str]] = {}
    for document in documents:
        services = document.get("services") if isinstance(document, dict) else None
        for name, service in services.items() if isinstance(services, dict) else ():
            models = service.get("models") if isinstance(service, dict) else None
            if isinstance(models, list | dict):
                known = order.setdefault(str(name), [])
                known += [str(key) for key in models if str(key) not in known]
    return order
