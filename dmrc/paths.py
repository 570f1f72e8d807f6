"""Where things lie on disk, all of it under one directory (`DMRC_HOME`)."""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass
from pathlib import Path

from dmrc.errors import InputError, StoreError

# sun_path holds 108 bytes with its NUL on Linux, 104 on macOS; our longest socket name is
# "runner-" + 12 hex + "-" + 4 digits + ".sock". Source: unix(7).
_LONGEST_RUN_DIRECTORY = 72


def expanded(name: str | Path) -> Path:
    """Return a path, with `~` and `~user` as the home directories that they mean.

    Raises:
        InputError: There is no such user, or nobody knows where this one is at home.
    """
    try:
        return Path(name).expanduser()
    except RuntimeError as error:
        raise InputError(
            f"'{name}' begins in a home directory that is not known", remedy="Write the whole path, or set HOME"
        ) from error


@dataclass(frozen=True, slots=True)
class Paths:
    """The files and directories of one dmrc."""

    home: Path
    """Everything below is in here, but `run` when its name would be too long for a socket."""

    @property
    def store(self) -> Path:
        """Return the OCI image layout that holds the models."""
        return self.home / "store"

    @property
    def engines(self) -> Path:
        """Return the directory with one directory per build of an engine that was installed."""
        return self.home / "engines"

    @property
    def projects(self) -> Path:
        """Return the directory with one directory per compose project (override files)."""
        return self.home / "projects"

    @property
    def replays(self) -> Path:
        """Return the directory with one file per project: what became of its last recording or replay."""
        return self.home / "replays"

    @property
    def logs(self) -> Path:
        """Return the directory of the daemon's and the runners' logs."""
        return self.home / "logs"

    @property
    def daemon_log(self) -> Path:
        """Return the daemon's log."""
        return self.logs / "daemon.log"

    @property
    def run(self) -> Path:
        """Return the directory of sockets and locks, mode 0700."""
        run = self.home / "run"
        if len(os.fsencode(run)) <= _LONGEST_RUN_DIRECTORY:
            return run
        name = hashlib.sha256(os.fsencode(self.home)).hexdigest()[:16]
        import tempfile  # heavy, and few names are too long

        base = os.environ.get("XDG_RUNTIME_DIR") or tempfile.gettempdir()
        return Path(base) / f"dmrc-{os.getuid()}-{name}"

    @property
    def admin_socket(self) -> Path:
        """Return the socket of the daemon's admin API."""
        return self.run / "admin.sock"

    @property
    def daemon_lock(self) -> Path:
        """Return the file whose lock makes the daemon one per home.

        In the home itself: where `run` lies may depend on the environment of a command.
        """
        return self.home / "daemon.lock"

    @property
    def exchanges(self) -> Path:
        """Return the SQLite database of requests."""
        return self.home / "exchanges.sqlite3"

    @property
    def registrations(self) -> Path:
        """Return the SQLite database of projects and the hashes of their keys."""
        return self.home / "projects.sqlite3"

    def create(self) -> Paths:
        """Make the directories, private to the user, and return self.

        Raises:
            StoreError: The state directory is not writable, or is not ours.
        """
        try:
            for directory in (self.home, self.store, self.projects, self.logs, self.run):
                directory.mkdir(mode=0o700, parents=True, exist_ok=True)
            # A directory in a shared temporary directory may have been made by someone else first.
            if self.run.stat().st_uid != os.getuid():
                raise PermissionError(f"{self.run} belongs to another user")
            self.run.chmod(0o700)
            if not os.access(self.home, os.W_OK | os.X_OK):
                raise PermissionError("permission denied")
        except OSError as error:
            raise StoreError(
                f"state directory '{self.home}' cannot be written: {error.strerror or error}",
                remedy="Make it writable, or set DMRC_HOME to another directory",
            ) from error
        return self
