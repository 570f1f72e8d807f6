"""One command at a time starts or stops the containers of a project."""

from __future__ import annotations

import contextlib
import fcntl
import os
from collections.abc import Iterator
from pathlib import Path

from dmrc.cli.app import App
from dmrc.cli.progress import note


@contextlib.contextmanager
def project_lock(app: App, project: str, *, kept_by_compose: bool = False) -> Iterator[None]:
    """Hold the lock of a project; waits for another command that holds it, and says so.

    Two Composes that start one project at once make two networks of one name, and the project starts no more until
    `down` (seen on v5.6.1). So a Compose that returns by itself (`up --detach`) inherits the lock where the work inside
    becomes Compose, and holds it to its end. It is none of `filelock`'s, whose descriptors end with this program.
    """
    path: Path = app.settings.paths.create().projects / f"{project}.lock"
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            note(f"another dmrc command starts or stops project '{project}'; waiting for it")
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        os.set_inheritable(descriptor, kept_by_compose)
        yield
    finally:
        os.close(descriptor)
