"""A plugin that a compose project names: which file, and what was in it."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class LocalPlugin:
    """A plugin of a compose project, as `dmrc up` saw it: the daemon runs this code and no other."""

    path: str
    """Absolute."""
    sha256: str
    """Digest of the file in hex; empty where it cannot be read."""

    @classmethod
    def of(cls, path: Path) -> LocalPlugin:
        """Look at the file as it is now."""
        try:
            return cls(str(path), hashlib.sha256(path.read_bytes()).hexdigest())
        except OSError:
            return cls(str(path), "")

    @property
    def name(self) -> str:
        """Return the file's name without `.py`."""
        return Path(self.path).stem
