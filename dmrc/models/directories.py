"""A model that is a directory: safetensors files, and what belongs to them."""

from __future__ import annotations

from pathlib import Path

from dmrc.artifact import Role, role_in_directory
from dmrc.errors import InputError

_MOST_FILES = 500


def files_of_directory(directory: Path) -> dict[str, Role]:
    """Return the files by their relative paths, in order, each with what it is for; hidden ones are left out.

    Raises:
        InputError: It is no directory, or has no weights.
    """
    if not directory.is_dir():
        raise InputError(f"'{directory}' must be a directory")
    found: dict[str, Role] = {}
    for path in sorted(directory.rglob("*")):
        name = path.relative_to(directory)
        if path.is_file() and not any(part.startswith(".") for part in name.parts):
            found[name.as_posix()] = role_in_directory(name.as_posix())
    if "safetensors" not in found.values():
        raise InputError(f"'{directory}' has no file in the format safetensors", remedy="Give a GGUF file by --gguf")
    if len(found) > _MOST_FILES:
        raise InputError(f"'{directory}' has {len(found)} files, and at most {_MOST_FILES} make a model")
    return found
