"""A directory of safetensors that a project names in the place of a GGUF file: a LoRA adapter, a draft."""

from __future__ import annotations

import os
import stat
from pathlib import Path

from dmrc.errors import InputError

_MOST_ENTRIES = 500


def files_of_directory(directory: Path, where: str) -> list[tuple[str, os.stat_result]] | None:
    """Return the files of a directory that has safetensors at its top, by their names; None for another directory.

    Raises:
        InputError: It holds a link, a pipe or the like, or too much; `where` is how the error calls it.
        OSError: It cannot be read.
    """
    if not any(directory.glob("*.safetensors")):
        return None
    found: list[tuple[str, os.stat_result]] = []
    for number, path in enumerate(directory.rglob("*")):
        name, status = path.relative_to(directory).as_posix(), path.lstat()
        if number >= _MOST_ENTRIES:
            raise InputError(
                f"{where}: '{directory}' holds more than {_MOST_ENTRIES} files", remedy="Name a smaller one"
            )
        if stat.S_ISREG(status.st_mode):
            found.append((name, status))
        elif not stat.S_ISDIR(status.st_mode):
            raise InputError(
                f"{where}: '{directory}' holds '{name}', which is no plain file", remedy="Put a copy in its place"
            )
    return sorted(found, key=lambda each: each[0])
