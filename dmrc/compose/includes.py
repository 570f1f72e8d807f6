"""Where the models of included compose files are written: `docker compose config` does not say.

Source: https://docs.docker.com/reference/compose-file/include/
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from dmrc.compose import yaml_text
from dmrc.compose.interpolation import Lookup, substitute
from dmrc.errors import ProjectError


def included_models(files: Sequence[Path], lookup: Lookup) -> dict[str, Path]:
    """Return the directory of the included file that declares each model, by key; none of those of `files` themselves.

    A relative path of such a model begins there, as Compose has it for volumes. What is remote, or cannot be read, is
    left out; variables in the names of files are looked up with `lookup`.
    """
    found: dict[str, Path] = {}
    waiting = [path for file in files for path in _included(file, lookup)]
    seen: set[Path] = set()
    while waiting:
        file = waiting.pop()
        if file in seen:
            continue
        seen.add(file)
        for document in _documents(file):
            models = document.get("models")
            found |= dict.fromkeys(map(str, models) if isinstance(models, dict) else (), file.parent)
        waiting += _included(file, lookup)
    if not found:
        return {}
    own = {str(key) for file in files for document in _documents(file) for key in _mapping(document.get("models"))}
    return {key: directory for key, directory in found.items() if key not in own}


def _included(file: Path, lookup: Lookup) -> Iterator[Path]:
    """Yield the files that one includes, in the forms `- path`, `- path: path` and `- path: [path, path]`."""
    if b"include" not in _bytes(file):
        return  # most files, and reading YAML takes its time
    for document in _documents(file):
        entries = document.get("include")
        for entry in entries if isinstance(entries, list) else []:
            named = entry.get("path") if isinstance(entry, dict) else entry
            for name in named if isinstance(named, list) else [named]:
                if isinstance(name, str) and (path := file.parent / substitute(name, lookup)).is_file():
                    yield path.absolute()


def _documents(file: Path) -> Iterator[dict[str, object]]:
    try:
        for document in yaml_text.read(_bytes(file).decode("utf-8-sig"), str(file)):
            if isinstance(document, dict):
                yield document
    except (ProjectError, UnicodeDecodeError):
        return  # a tag that only Compose understands


def _bytes(file: Path) -> bytes:
    try:
        return file.read_bytes()
    except OSError:
        return b""  # Compose has read it, and will say what is wrong


def _mapping(value: object) -> dict[object, object]:
    return value if isinstance(value, dict) else {}
