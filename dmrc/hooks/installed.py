"""Which installed distributions bring plugins: their entry points."""

from __future__ import annotations

import contextlib
import os
import re
import sys
from collections.abc import Iterable, Iterator
from importlib.machinery import PathFinder
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:  # it takes as long to import as all else that the list of commands needs
    from importlib.metadata import EntryPoint

_SEPARATORS = re.compile(r"[-_.]+")


def entry_points(group: str) -> Iterable[EntryPoint]:
    """Return the entry points of `group`, as `importlib.metadata` finds them.

    That is asked about those distributions that have some, and about all where only it can tell. Nothing is kept for
    the next time: what is installed is seen at once.
    """
    distributions = _distributions_with(f"[{group}]".encode())
    if distributions == []:
        return ()
    from importlib import metadata

    if distributions is None:
        return metadata.entry_points(group=group)
    found = (entry for path in distributions for entry in metadata.Distribution.at(path).entry_points)
    return [entry for entry in found if entry.group == group]


def _distributions_with(section: bytes) -> list[Path] | None:
    """Return the distributions with this section among their entry points; None where only metadata can tell.

    Source: https://packaging.python.org/en/latest/specifications/entry-points/. Of several with one name the first on
    the path counts, as in `importlib.metadata`.
    """
    if any(finder is not PathFinder and hasattr(finder, "find_distributions") for finder in sys.meta_path):
        return None  # it knows distributions that are elsewhere
    first: dict[str, Path] = {}
    for directory in sys.path:
        try:
            for entry in _information(directory or "."):
                name = entry.name.rpartition(".")[0].partition("-")[0]
                first.setdefault(_SEPARATORS.sub("-", name).lower(), Path(entry.path))
        except NotADirectoryError:
            return None  # an archive
        except OSError:
            continue
        if directory.endswith(".egg"):
            return None  # a distribution whose name is in a file
    return [path for path in first.values() if section in _entry_points_text(path)]


def _information(directory: str) -> Iterator[os.DirEntry[str]]:
    with os.scandir(directory) as entries:
        yield from (entry for entry in entries if entry.name.endswith((".dist-info", ".egg-info")))


def _entry_points_text(distribution: Path) -> bytes:
    with contextlib.suppress(OSError):
        return (distribution / "entry_points.txt").read_bytes()
    return b""  # most have none
