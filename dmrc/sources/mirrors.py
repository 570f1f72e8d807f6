"""The mirrors of Docker Hub that Docker's daemon uses.

Source: https://docs.docker.com/docker-hub/image-library/mirror/#configure-the-docker-daemon
"""

from __future__ import annotations

import json
import logging
from collections.abc import Iterable, Mapping
from pathlib import Path

_log = logging.getLogger(__name__)


def daemon_files(environ: Mapping[str, str]) -> list[Path]:
    """Return where Docker's daemon has its settings: rootless, of the system, of Docker Desktop."""
    configuration = Path(environ.get("XDG_CONFIG_HOME") or Path.home() / ".config")
    return [
        configuration / "docker/daemon.json",
        Path("/etc/docker/daemon.json"),
        Path.home() / ".docker/daemon.json",
    ]


def docker_mirrors(paths: Iterable[Path]) -> dict[str, tuple[str, ...]]:
    """Return the `registry-mirrors` of the first file that has some. They are for `docker.io` alone.

    A file that cannot be read is named in the log and counts as none.
    """
    for path in paths:
        try:
            settings = json.loads(path.read_bytes())
        except (FileNotFoundError, PermissionError, NotADirectoryError):
            continue
        except (OSError, ValueError, RecursionError) as error:
            _log.warning("'%s' cannot be read, so its mirrors are not used: %s", path, error)
            continue
        urls = settings.get("registry-mirrors") if isinstance(settings, dict) else None
        found = [url for url in urls if isinstance(url, str)] if isinstance(urls, list) else []
        if found:
            return {"docker.io": tuple(url for url in found if url.startswith(("https://", "http://")))}
    return {}
