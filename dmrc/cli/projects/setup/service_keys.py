"""Keys of services: made at their first use, and the same ever after, whichever command a service comes by."""

from __future__ import annotations

import json
import secrets
from collections.abc import Sequence
from contextlib import AbstractContextManager
from pathlib import Path

from dmrc.cli.app import App
from dmrc.files import replace_file
from dmrc.project import KEY_PREFIX

_LOCK = ".keys.lock"
"""Beside the directories of the projects, which `dmrc down` removes; no project has such a name, and so such a lock."""


def stable_keys(app: App, project: str, services: Sequence[str]) -> dict[str, str]:
    """Return the key of each service; `dmrc down` forgets them.

    They stay the same from `up` to `up`, or Compose would recreate the containers. Commands that prepare one project at
    the same time get the same keys, whichever of them comes first: the file changes under a lock, and a key in it is
    never replaced.
    """
    directory = app.settings.paths.create().projects / project
    path = directory / "keys.json"
    known = _read(path)
    if all(name in known for name in services):
        return {name: known[name] for name in services}  # the usual case, and the lock takes long to import
    with _lock(directory):
        directory.mkdir(mode=0o700, exist_ok=True)
        known = _read(path)
        new = {name: KEY_PREFIX + secrets.token_urlsafe(32) for name in services if name not in known}
        if new:
            _write(path, {**known, **new})
    keys = {**known, **new}
    return {name: keys[name] for name in services}


def forget_key(app: App, project: str, service: str) -> None:
    """Forget the key of a service: it gets another one when it needs one."""
    directory = app.settings.paths.create().projects / project
    with _lock(directory):
        path = directory / "keys.json"
        known = _read(path)
        if known.pop(service, None) is not None:
            _write(path, known)


def _lock(directory: Path) -> AbstractContextManager[object]:
    from filelock import FileLock

    return FileLock(directory.parent / _LOCK)


def _read(path: Path) -> dict[str, str]:
    try:
        document = json.loads(path.read_bytes())
    except (OSError, ValueError):
        return {}
    return {str(name): str(key) for name, key in document.items()} if isinstance(document, dict) else {}


def _write(path: Path, keys: dict[str, str]) -> None:
    replace_file(path, json.dumps(keys).encode(), 0o600)
