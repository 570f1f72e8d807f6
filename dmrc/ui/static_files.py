"""The files of the page itself, under an address that changes with what they hold."""

from __future__ import annotations

import hashlib
import os
from functools import cache
from pathlib import Path

from fastapi.staticfiles import StaticFiles
from starlette.responses import Response
from starlette.types import Scope

_FOLDER = Path(__file__).parent / "static"
_KEPT = "private, max-age=31536000, immutable"


@cache
def static_address() -> str:
    """Return where the files are; modules that import one another by `./` stay below it."""
    return f"/ui/static/{_version()}"


class PageFiles(StaticFiles):
    """Serves each file also below the version of them all: what a browser has from there it need not ask for again."""

    def __init__(self) -> None:
        """Serve what lies beside this module."""
        super().__init__(directory=_FOLDER)

    async def get_response(self, path: str, scope: Scope) -> Response:
        """Return the file; a page that an older daemon made gets it as well, and does not keep it."""
        version, _, name = path.partition(os.sep)
        response = await super().get_response(name or path, scope)
        if name and version == _version():
            response.headers["cache-control"] = _KEPT
        return response


@cache
def _version() -> str:
    digest = hashlib.sha256()
    for file in sorted(_FOLDER.iterdir()):
        digest.update(f"{file.name}\0".encode())
        digest.update(hashlib.sha256(file.read_bytes()).digest())
    return digest.hexdigest()[:12]
