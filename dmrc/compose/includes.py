"""Where the models of included compose files are written: `docker compose config` does not say.

Source: https://docs.docker.com/reference/compose-file/include/
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from dmrc.compose.interpolation import Lookup, substitute
from dmrc.compose.tagged import documents, unwrapped


def included_models(files: Sequence[Path], lookup: Lookup) -> dict[str, Path]:
    """Return the directory of the included file that declares each model, by key; none of those of `files` themselves.

    A relative path of such a model begins there, as Compose has it for volumes. What is remote, or cannot be read, is
    left out; variables in the names of files are looked up with `lookup`.
    """
    found = {key: file.parent for file in included_files(files, lookup) for key in _models(file)}
    own = {key for file in files for key in _models(file)} if found else set()
    return {key: directory for key, directory in found.items() if key not in own}


def included_files(files: Sequence[Path], lookup: Lookup | None = None) -> list[Path]:
    """Return the files that `files` include, and those that these do. Without `lookup` names with variables are not."""
    found: list[Path] = []
    waiting = [path for file in files for path in _included(file, lookup)]
    while waiting:
        file = waiting.pop()
        if file not in found:
            found.append(file)
            waiting += _included(file, lookup)
    return found


def _included(file: Path, lookup: Lookup | None) -> Iterator[Path]:
    """Yield the files that one includes, in the forms `- path`, `- path: path` and `- path: [path, path]`."""
    if b"include" not in _bytes(file):
        return  # most files, and reading YAML takes its time
    for document in documents(file):
        entries = unwrapped(document.get("include"))
        for entry in entries if isinstance(entries, list) else []:
            named = entry.get("path") if isinstance(entry, dict) else entry
            for name in named if isinstance(named, list) else [named]:
                if not isinstance(name, str) or ("$" in name and lookup is None):
                    continue
                path = file.parent / (substitute(name, lookup) if lookup else name)
                if path.is_file():
                    yield path.absolute()


def _models(file: Path) -> set[str]:
    """Return the keys of the models that a file declares."""
    declared = [unwrapped(document.get("models")) for document in documents(file)]
    return {str(key) for models in declared if isinstance(models, dict) for key in models}


def _bytes(file: Path) -> bytes:
    try:
        return file.read_bytes()
    except OSError:
        return b""  # Compose has read it, and will say what is wrong
