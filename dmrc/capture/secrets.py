"""The values that must not be recorded, by project: in memory, and where a file is memory too, for the next daemon."""

from __future__ import annotations

import hashlib
import json
import logging
import os
import shutil
import stat
import threading
from collections.abc import Iterable, Mapping
from pathlib import Path

from dmrc.capture.redaction import Redactor
from dmrc.files import replace_file

_log = logging.getLogger(__name__)

_NAME = "secrets.json"
_HOME = "home"
_PREFIX = "dmrc-secrets"
_MEMORY_FILE_SYSTEMS = frozenset({"tmpfs", "ramfs"})


class KnownSecrets:
    """The secrets of the projects that are up. Safe in threads.

    They are never written below `DMRC_HOME`. So that a daemon that was started again still knows them they also lie in
    a file of mode 0600 on a memory file system, where there is one.
    """

    def __init__(self, directory: Path | None, home: Path | None = None) -> None:
        """Read what an earlier daemon left in `directory` (`memory_directory`); None: nothing outlives this object.

        `home` is the state directory that it belongs to. What lies beside it and belongs to one that was deleted goes.
        """
        self._directory = directory
        self._home = home
        if directory is not None:
            _forget_deleted_homes(directory.parent)
        self._lock = threading.Lock()
        self._values = {} if directory is None else _read(directory)
        self._redactors: dict[str | None, Redactor] = {}

    def remember(self, project: str, values: Iterable[str]) -> None:
        """Take the secrets of a project in, beside those known: its containers may still have the former ones."""
        with self._lock:
            self._values[project] = sorted({*self._values.get(project, ()), *values})
            self._redactors.clear()
            self._write()

    def forget(self, project: str) -> None:
        """Let go of a project's secrets."""
        with self._lock:
            if self._values.pop(project, None) is not None:
                self._redactors.clear()
                self._write()

    def forget_all(self, scope: str) -> None:
        """Let go of the secrets of all whose names begin so."""
        for project in [name for name in self._values if name.startswith(scope)]:
            self.forget(project)

    def redactor(self, project: str | None) -> Redactor | None:
        """Return what masks a project's secrets, or None when they are not known. None as the project: those of all."""
        with self._lock:
            if project is not None and project not in self._values:
                return None
            if project not in self._redactors:
                lists = self._values.values() if project is None else [self._values[project]]
                self._redactors[project] = Redactor(value for values in lists for value in values)
            return self._redactors[project]

    def masked(self, text: str) -> str:
        """Return a text without the secrets of any project, and without keys of dmrc's own."""
        redactor = self.redactor(None)
        return text if redactor is None else redactor.masked_text(text)

    def _write(self) -> None:
        if self._directory is None:
            return
        try:
            if self._values:
                _write(self._directory, self._values, self._home)
            else:
                shutil.rmtree(self._directory, ignore_errors=True)
        except OSError as error:
            _log.warning("the next daemon will not know the projects' secrets: %s", error)


def memory_directory(home: Path) -> Path | None:
    """Return where secrets of this home may lie, on a memory file system; None where there is none."""
    name = f"{_PREFIX}-{os.getuid()}-{hashlib.sha256(os.fsencode(home)).hexdigest()[:16]}"
    for base in (os.environ.get("XDG_RUNTIME_DIR"), "/dev/shm"):  # noqa: S108 the directory in it is ours alone
        if base and _file_system(Path(base)) in _MEMORY_FILE_SYSTEMS:
            return Path(base, name)
    return None


def _file_system(path: Path) -> str | None:
    """Return the type of the file system that a path lies on, as the kernel names it. Source: proc(5)."""
    try:
        real = path.resolve(strict=True)
        lines = Path("/proc/self/mounts").read_text().splitlines()
    except OSError:
        return None
    mounts = {Path(fields[1]): fields[2] for fields in map(str.split, lines)}
    return next((mounts[place] for place in (real, *real.parents) if place in mounts), None)


def _forget_deleted_homes(base: Path) -> None:
    """Remove the secrets of homes that are not there any more: nobody else would before the machine starts again."""
    for directory in base.glob(f"{_PREFIX}-{os.getuid()}-*"):
        try:
            home = (directory / _HOME).read_text() if _is_ours(directory) else ""
        except (OSError, UnicodeDecodeError):
            continue  # it belongs to an older dmrc, which did not say whose it is
        if home and not Path(home).exists():
            shutil.rmtree(directory, ignore_errors=True)


def _write(directory: Path, values: Mapping[str, list[str]], home: Path | None) -> None:
    directory.mkdir(mode=0o700, exist_ok=True)
    if not _is_ours(directory):
        raise PermissionError(f"{directory} is not this user's alone")
    if home is not None:
        (directory / _HOME).write_text(str(home.resolve()))
    replace_file(directory / _NAME, json.dumps(values).encode(), 0o600)


def _read(directory: Path) -> dict[str, list[str]]:
    try:
        if not _is_ours(directory):
            return {}
        found = json.loads((directory / _NAME).read_bytes())
    except (OSError, ValueError):
        return {}
    return {str(project): [str(value) for value in values] for project, values in found.items()}


def _is_ours(directory: Path) -> bool:
    """Return whether nobody else can have put anything there: the place is for all users."""
    status = directory.lstat()
    return stat.S_ISDIR(status.st_mode) and status.st_uid == os.getuid() and not status.st_mode & 0o077
