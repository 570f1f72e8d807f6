"""An index of wheels as pip knows it: a directory of files behind Python's own web server."""

from __future__ import annotations

import shutil
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from dmrc.installing.contents import file_sha256


class _Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *_: object) -> None:
        pass


@contextmanager
def serving(directory: Path) -> Iterator[str]:
    """Serve a directory on loopback, and yield its URL."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(_Quiet, directory=str(directory)))
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def put(directory: Path, *wheels: Path, mark: str = "#sha256={sha256}", more: str = "") -> Path:
    """Make the page of xllamacpp in an index at `directory`; `mark` follows the name of each file, in its link."""
    place = directory / "xllamacpp"
    place.mkdir(parents=True, exist_ok=True)
    links = [more]
    for wheel in wheels:
        shutil.copy(wheel, place / wheel.name)
        links.append(f'<a href="{wheel.name}{mark.format(sha256=file_sha256(wheel))}">{wheel.name}</a><br>')
    (place / "index.html").write_text(f"<!DOCTYPE html><html><body>{''.join(links)}</body></html>")
    return directory
