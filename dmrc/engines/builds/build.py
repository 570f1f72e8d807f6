"""One build of llama.cpp's server: a `llama-server`, or an xllamacpp with the same server inside."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dmrc.engines.environment import child_environment
from dmrc.engines.installed import package_bytes

LLAMA_SERVER, XLLAMACPP = "llama-server", "xllamacpp"
"""The builds that are there without being installed: the one on `PATH`, and the one of this Python environment."""

FACTS = "build.json"
"""File in the directory of a build that was installed, which says what it is."""

_VERSION_SECONDS = 10.0
_VERSION = re.compile(r"^version: *(.+)$", re.MULTILINE)
_DISTRIBUTION = "xllamacpp"


@dataclass(frozen=True, slots=True, kw_only=True)
class Build:
    """What dmrc knows of a llama-server or of an xllamacpp, and how it is begun."""

    name: str
    """What `dmrc engine use` calls it."""
    program: Path | None = None
    """Its `llama-server`; None where it is an xllamacpp."""
    site: Path | None = None
    """The directory to import xllamacpp from; None: this Python environment."""
    directory: Path | None = None
    """Where it was installed; None where dmrc has only found it."""
    libraries: tuple[Path, ...] = ()
    """Directories of its shared libraries: it may have been built to look for them elsewhere."""
    version: str | None = None
    """As it said when it was installed; None: not asked yet."""
    source: str | None = None
    """Where it came from: a URL without secrets, or a path."""
    sha256: str | None = None
    """Of the file that it came in; None where it came as a directory."""
    installed_at: float | None = None
    """Unix time."""

    @property
    def argv(self) -> tuple[str, ...]:
        """Return the command that its arguments follow; none where it is an xllamacpp."""
        if self.program is None:
            return ()
        if not self.libraries or sys.platform != "linux":
            return (str(self.program),)
        # Where CMake linked it in a directory of its own, that is where it would look, as long as it is there.
        return ("/usr/bin/env", f"LD_LIBRARY_PATH={':'.join(map(str, self.libraries))}", str(self.program))

    @property
    def label(self) -> str:
        """Return what messages call it: the path of a binary, or a package with its version."""
        if self.program is not None:
            return str(self.program)
        known = f"{_DISTRIBUTION} {self.version or self.told_version()}"
        return known if self.directory is None else f"{known} (build '{self.name}')"

    def told_version(self) -> str:
        """Ask it for its version, which takes a child where it is a binary.

        Raises:
            TimeoutError: It does not answer.
            OSError: It is no program of this machine.
        """
        if self.program is None:
            return _version_in(self.site)
        try:
            ran = subprocess.run(
                [*self.argv, "--version"],
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                errors="replace",
                check=False,
                timeout=_VERSION_SECONDS,
                env=child_environment(os.environ),
            )
        except subprocess.TimeoutExpired as error:
            raise TimeoutError(f"no answer in {_VERSION_SECONDS:g} s") from error
        found = _VERSION.search(ran.stderr + ran.stdout)
        return found[1].strip() if found else "unknown"

    def size_bytes(self) -> int:
        """Return what it takes of the disk; 0 for a binary that dmrc has only found."""
        if self.directory is not None:
            return sum(path.lstat().st_size for path in self.directory.rglob("*") if path.is_file())
        return package_bytes(_DISTRIBUTION) if self.program is None else 0

    def to_json(self) -> dict[str, object]:
        """Return what `FACTS` says; paths are relative to the directory, which may be moved."""

        def inside(path: Path | None) -> str | None:
            return None if path is None or self.directory is None else str(path.relative_to(self.directory))

        return {
            "program": inside(self.program),
            "site": inside(self.site),
            "libraries": [inside(path) for path in self.libraries],
            "version": self.version,
            "source": self.source,
            "sha256": self.sha256,
            "installed_at": self.installed_at,
        }

    @classmethod
    def read(cls, directory: Path) -> Build:
        """Read what was installed in a directory.

        Raises:
            OSError, ValueError, TypeError, KeyError, AttributeError: It is no build, or a damaged one.
        """
        facts: Mapping[str, Any] = json.loads((directory / FACTS).read_text())
        program, site = facts["program"], facts["site"]
        if (program is None) == (site is None):
            raise ValueError(f"'{directory / FACTS}' names neither a program nor a package")
        found = cls(
            name=directory.name,
            program=None if program is None else directory / program,
            site=None if site is None else directory / site,
            directory=directory,
            libraries=tuple(directory / path for path in facts["libraries"]),
            version=facts.get("version"),
            source=facts.get("source"),
            sha256=facts.get("sha256"),
            installed_at=facts.get("installed_at"),
        )
        place = found.program or (found.site or directory) / _DISTRIBUTION
        if not place.exists():
            raise ValueError(f"'{place}' is not there any more")
        return found


def _version_in(site: Path | None) -> str:
    """Return the version of an xllamacpp in a directory, or of this environment's."""
    from importlib import metadata  # heavy

    if site is None:
        return metadata.version(_DISTRIBUTION)
    found = metadata.distributions(name=_DISTRIBUTION, path=[str(site)])
    return next((one.version for one in found), "unknown")
