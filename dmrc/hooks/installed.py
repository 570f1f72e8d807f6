"""Which installed distributions bring plugins: their entry points."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterable
from importlib.machinery import PathFinder
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:  # it takes as long to import as all else that the list of commands needs
    from importlib.metadata import EntryPoint


def entry_points(group: str) -> Iterable[EntryPoint]:
    """Return the entry points of `group`, as `importlib.metadata` finds them; it is not asked where there are none."""
    if not _may_have(f"[{group}]".encode()):
        return ()
    from importlib import metadata

    return metadata.entry_points(group=group)


def _may_have(section: bytes) -> bool:
    """Return whether a distribution may have this section among its entry points; True where only metadata can tell.

    Source: https://packaging.python.org/en/latest/specifications/entry-points/.
    """
    if any(finder is not PathFinder and hasattr(finder, "find_distributions") for finder in sys.meta_path):
        return True  # it knows distributions that are elsewhere
    for directory in sys.path:
        try:
            with os.scandir(directory or ".") as entries:
                if any(section in _entry_points_text(entry) for entry in entries):
                    return True
        except NotADirectoryError:
            return True  # an archive
        except OSError:
            continue
    return False


def _entry_points_text(entry: os.DirEntry[str]) -> bytes:
    """Return the text of a distribution's entry points; nothing of what is no distribution, or has none."""
    if not entry.name.lower().endswith((".dist-info", "egg-info")):
        return b""
    with contextlib.suppress(OSError):
        return Path(entry.path, "entry_points.txt").read_bytes()
    return b""
