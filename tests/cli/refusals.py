"""What a refused command must look like, and what it must leave: nothing."""

from __future__ import annotations

import hashlib
import os
import shutil
import signal
import sqlite3
import subprocess
import time
from collections.abc import Callable, Sequence
from contextlib import closing
from pathlib import Path

from tests.dmrc_command import Dmrc

PROJECT = """
name: shop
services:
  web: {{image: none, models: [llm]}}
models:
  llm: {{model: "{model}"{more}}}
"""


def write_project(directory: Path, model: str = "ai/none", more: str = "") -> Path:
    """Write a project of one service with one model; `more` are further keys of the model, as `context_size: 9`."""
    directory.mkdir(parents=True, exist_ok=True)
    (directory / "compose.yaml").write_text(PROJECT.format(model=model, more=f", {more}" if more else ""))
    return directory


def write_program(directory: Path, name: str, script: str) -> Path:
    """Write a shell script as a program, and return its directory."""
    directory.mkdir(parents=True, exist_ok=True)
    program = directory / name
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(0o755)
    return directory


def without_root_rights(dmrc: Dmrc, directory: Path) -> None:
    """Make `dmrc` obey the modes of files, which it does not as root."""
    if os.geteuid() == 0:
        rights = "--bounding-set=-dac_override,-dac_read_search"
        dmrc.program = (
            write_program(directory, "dmrc", f'exec {shutil.which("setpriv")} {rights} "{dmrc.program}" "$@"') / "dmrc"
        )


def assert_refused(done: subprocess.CompletedProcess[str], code: int, *words: str) -> None:
    """One clear line on stderr with these words, this exit code, and no data; before it only the end of a log.

    And, on a busy machine, what is said of a load that takes 3 s.
    """
    assert done.returncode == code, done.stderr
    assert done.stdout == ""
    said = [line for line in done.stderr.splitlines() if not line.startswith(("  ", "loading "))]
    assert len(said) == 1, done.stderr
    assert said[0].startswith("dmrc: ")
    for word in words:
        assert word in done.stderr


def assert_left_nothing(dmrc: Dmrc) -> None:
    """No process, no project, no override file, and no partial file in the store.

    Keys that were minted stay for the next try, as they do from `up` to `up`; nobody honours them until then.
    """
    assert dmrc.processes() == []
    left = {path.name for path in (dmrc.home / "projects").rglob("*") if path.is_file()}
    assert {name for name in left if not name.endswith(".lock")} <= {"keys.json"}
    assert registered(dmrc) == []
    for blob in (path for path in (dmrc.home / "store" / "blobs").rglob("*") if path.is_file()):
        assert blob.name == hashlib.sha256(blob.read_bytes()).hexdigest()


def registered(dmrc: Dmrc) -> list[str]:
    """Return the names of the projects that the daemon knows, or would after a start."""
    path = dmrc.home / "projects.sqlite3"
    if not path.exists():
        return []
    with closing(sqlite3.connect(path)) as database:
        return [name for (name,) in database.execute("SELECT name FROM project")]


def interrupt(dmrc: Dmrc, arguments: Sequence[str], cwd: Path, until: Callable[[], bool]) -> tuple[int, str]:
    """Run a command as from a terminal, press Ctrl+C when `until` holds, and return its exit code and stderr."""
    process = subprocess.Popen(
        [dmrc.program, *arguments],
        cwd=cwd,
        env=dmrc.environment,
        stdin=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    deadline = time.monotonic() + 60
    while not until():
        assert process.poll() is None, process.communicate()[1]
        assert time.monotonic() < deadline
        time.sleep(0.02)
    os.killpg(process.pid, signal.SIGINT)
    _, stderr = process.communicate(timeout=60)
    return process.returncode, stderr
