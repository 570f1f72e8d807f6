"""Directories for the files of one process, below the system's for temporary ones."""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
from pathlib import Path

import psutil

_PREFIX = "dmrc-ray-"


def own_directory() -> Path:
    """Return a new directory that is this user's alone, and remove those of processes that were killed."""
    base = Path("/tmp" if os.name == "posix" else tempfile.gettempdir())  # noqa: S108 names of sockets must be short
    for left in base.glob(f"{_PREFIX}*-*"):
        owner = left.name.removeprefix(_PREFIX).partition("-")[0]
        with contextlib.suppress(OSError):
            if owner.isdecimal() and not psutil.pid_exists(int(owner)) and left.stat().st_uid == os.getuid():
                shutil.rmtree(left, ignore_errors=True)
    return Path(tempfile.mkdtemp(prefix=f"{_PREFIX}{os.getpid()}-", dir=base))
