"""What is misspelt in compose files, told with the word that was meant: Compose names the place, and no remedy."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path

from dmrc.compose import yaml_text
from dmrc.compose.without_docker.service_keys import SERVICE_KEYS, TOP_LEVEL_KEYS
from dmrc.errors import ProjectError
from dmrc.fields import near

_MODEL_KEYS = ("model", "context_size", "runtime_flags", "name", "x-dmrc")
_BINDING_KEYS = ("endpoint_var", "model_var")
_TAB = re.compile(r"^ *\t", re.MULTILINE)


def mistakes(files: Sequence[Path]) -> list[str]:
    """Return a line for each key that no compose file has, and for a tab that indents; to be asked after a failure."""
    found: list[str] = []
    for file in files:
        try:
            text = file.read_text()
        except (OSError, UnicodeDecodeError):
            continue
        if tab := _TAB.search(text):
            line = text.count("\n", 0, tab.start()) + 1
            found.append(f"{file.name}:{line}: a tab indents the line; YAML takes spaces only")
            continue
        try:
            documents = list(yaml_text.read(text, str(file)))
        except ProjectError:
            continue  # what is wrong is no word
        found += [line for document in documents for line in _of_document(_mapping(document))]
    return found


def _of_document(document: Mapping[str, object]) -> Iterator[str]:
    yield from _unknown(document, TOP_LEVEL_KEYS | {"x-dmrc"}, "the file")
    for name, service in _mapping(document.get("services")).items():
        fields = _mapping(service)
        yield from _unknown(fields, SERVICE_KEYS | {"x-dmrc"}, f"services.{name}")
        for key, binding in _mapping(fields.get("models")).items():
            yield from _unknown(_mapping(binding), _BINDING_KEYS, f"services.{name}.models.{key}")
    for name, model in _mapping(document.get("models")).items():
        yield from _unknown(_mapping(model), _MODEL_KEYS, f"models.{name}")


def _unknown(fields: Mapping[str, object], known: Collection[str], where: str) -> Iterator[str]:
    for name in fields:
        if name not in known and not name.startswith("x-"):
            meant = near(name, known) or (f"; known: {', '.join(known)}" if len(known) < 8 else "")
            yield f"{where} has no key '{name}'{meant}"


def _mapping(value: object) -> Mapping[str, object]:
    return {str(key): entry for key, entry in value.items()} if isinstance(value, dict) else {}
