"""One command at a time starts or stops the containers of a project."""

from __future__ import annotations

import contextlib
import fcntl
import os
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from dmrc.cli.app import App
from dmrc.cli.progress import note

_LOOK_SECONDS = 0.2


@dataclass(frozen=True, slots=True)
class ProjectLock:
    """The lock of a project, held by this command."""

    project: str
    """Its name."""
    descriptor: int
    """Whoever has it open holds the lock."""

    def keep_for_compose(self) -> None:
        """Have the Compose that this process becomes hold the lock to its end."""
        os.set_inheritable(self.descriptor, True)

    def keep_until_created(self, docker_host: str, containers: Mapping[str, int]) -> None:
        """Have a process in the background hold the lock until Compose, which this process becomes, has made these.

        `containers` are how many each service is to have. Compose makes all networks and containers before it starts
        one, and then stays for as long as they run.
        """
        wanted = [f"{service}={number}" for service, number in containers.items()]
        keeper = [
            sys.executable,
            "-P",
            "-m",
            "dmrc.cli.projects.setup.project_lock",
            str(os.getpid()),
            docker_host,
            self.project,
        ]
        # A shell in between, or Compose would have a child that it does not know of.
        subprocess.run(
            ["sh", "-c", '"$@" &', "sh", *keeper, *wanted],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            pass_fds=(self.descriptor,),
            start_new_session=True,
            check=True,
        )


@contextlib.contextmanager
def project_lock(app: App, project: str) -> Iterator[ProjectLock]:
    """Hold the lock of a project; waits for another command that holds it, and says so.

    Two Composes that start one project at once make two networks of one name, and the project starts no more until
    `down` (seen on v5.6.1). It is none of `filelock`'s, whose descriptors end with this program.
    """
    path: Path = app.settings.paths.create().projects / f"{project}.lock"
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            note(f"another dmrc command starts or stops project '{project}'; waiting for it")
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield ProjectLock(project, descriptor)
    finally:
        os.close(descriptor)


def _wait_until_created(compose: int, docker_host: str, project: str, wanted: Mapping[str, int]) -> None:
    """Wait until a project has these containers, or the process of its Compose has ended."""
    from dmrc.compose.presence import containers_of

    while _runs(compose):
        found = containers_of(docker_host, project)
        if all(found[service] >= number for service, number in wanted.items()):
            return
        time.sleep(_LOOK_SECONDS)


def _runs(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def _main(pid: str, docker_host: str, project: str, *wanted: str) -> None:
    numbers = {service: int(number) for service, _, number in (each.rpartition("=") for each in wanted)}
    _wait_until_created(int(pid), docker_host, project, numbers)


if __name__ == "__main__":
    _main(*sys.argv[1:])
