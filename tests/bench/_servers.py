"""A server in a process of its own, until a block ends."""

from __future__ import annotations

import http.client
import os
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

import psutil

from tests.bench.figure import LeftOut

_START_SECONDS = 180
_END_SECONDS = 10


@contextmanager
def started(argv: Sequence[str], port: int, path: str, environment: Mapping[str, str]) -> Iterator[psutil.Popen]:
    """Run a server in a directory of its own until the block ends, with its children; ready when `path` answers 200."""
    with tempfile.TemporaryDirectory(prefix="dmrc-bench-") as directory:
        log = Path(directory) / "log"
        with log.open("wb") as output:
            process = psutil.Popen(argv, cwd=directory, env={**os.environ, **environment}, stdout=output, stderr=output)
        try:
            _wait_until_ready(process, port, path, log)
            yield process
        finally:
            _end(process)


def _wait_until_ready(process: psutil.Popen, port: int, path: str, log: Path) -> None:
    deadline = time.monotonic() + _START_SECONDS
    while not _answers(port, path):
        if process.poll() is not None or time.monotonic() > deadline:
            said = log.read_text(errors="replace").splitlines()[-1:]
            raise LeftOut(f"{' '.join(process.args[:3])} does not start: {''.join(said) or 'it says nothing'}")
        time.sleep(0.05)


def _end(process: psutil.Popen) -> None:
    """End it, and kill what it leaves behind."""
    children = [] if process.poll() is not None else process.children(recursive=True)
    process.terminate()
    psutil.wait_procs([process, *children], timeout=_END_SECONDS)
    for one in (process, *children):
        with suppress(psutil.NoSuchProcess):
            one.kill()
    process.wait()


def _answers(port: int, path: str) -> bool:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
    try:
        connection.request("GET", path)
        return connection.getresponse().status == 200
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()
