"""Keys of the doors where no override file is written: provider services and the `docker-model` plugin."""

from __future__ import annotations

import json
import os
import secrets
import tempfile
from pathlib import Path

from filelock import FileLock

from dmrc.cli.app import App
from dmrc.project import KEY_PREFIX


def stable_key(app: App, project: str, service: str) -> str:
    """Return the key of a service, made at its first use and the same ever after; `dmrc down` forgets it.

    Compose starts several providers at once, so the file changes under a lock.
    """
    directory = app.settings.paths.create().projects / project
    directory.mkdir(mode=0o700, exist_ok=True)
    path = directory / "keys.json"
    with FileLock(path.with_suffix(".lock")):
        keys = _read(path)
        if service not in keys:
            keys[service] = KEY_PREFIX + secrets.token_urlsafe(32)
            _write(path, keys)
    return keys[service]


def _read(path: Path) -> dict[str, str]:
    try:
        document = json.loads(path.read_bytes())
    except (OSError, ValueError):
        return {}
    return {str(name): str(key) for name, key in document.items()} if isinstance(document, dict) else {}


def _write(path: Path, keys: dict[str, str]) -> None:
    descriptor, temporary = tempfile.mkstemp(dir=path.parent)  # mode 0600
    with os.fdopen(descriptor, "w") as file:
        json.dump(keys, file)
        file.flush()
        os.fsync(file.fileno())
    Path(temporary).rename(path)
