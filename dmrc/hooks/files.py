"""Plugins that are files: read once, checked against a digest where there is one, and run as a module."""

from __future__ import annotations

import hashlib
import sys
import types
from pathlib import Path

from dmrc.errors import PluginError


def is_path(word: str) -> bool:
    """Return whether a word of `DMRC_PLUGINS` names a file."""
    return "/" in word or word.endswith(".py")


def import_file(path: Path, sha256: str | None = None) -> types.ModuleType:
    """Run a file as a new module; nothing is written beside it.

    Raises:
        PluginError: It is not there, or is not the file that `sha256` names.
    """
    try:
        source = path.read_bytes()
    except OSError as error:
        raise PluginError(f"it cannot be read: {error.strerror}") from error
    digest = hashlib.sha256(source).hexdigest()
    if sha256 is not None and digest != sha256:
        raise PluginError("the file has changed since dmrc up", remedy="Run dmrc up again")
    # The name is one that no import finds, and differs for each file and each version of it.
    where = hashlib.sha256(str(path).encode()).hexdigest()
    module = types.ModuleType(f"dmrc_plugin_{path.stem}_{where[:8]}_{digest[:8]}")
    module.__file__ = str(path)
    sys.modules[module.__name__] = module  # dataclasses look their module up there
    try:
        exec(compile(source, str(path), "exec"), module.__dict__)  # noqa: S102 to run it is what was asked for
    except BaseException:
        del sys.modules[module.__name__]
        raise
    return module
