"""The installed `dmrc` command, with a state directory and a port of its own."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from urllib.request import HTTPCookieProcessor, build_opener

import psutil
import pytest

from dmrc.capture.secrets import memory_directory
from dmrc.cli.client import DaemonClient
from dmrc.projects import Projects
from dmrc.settings import Settings
from tests.ports import free_port

_STRANGERS = ("DMRC_", "DOCKER_", "COMPOSE_", "OPENAI_", "MODEL_RUNNER_", "DEFAULT_REGISTRY", "INSECURE_REGISTRY")
_STOP_SECONDS = 20


_ROOT = Path(__file__).parents[1]


class Dmrc:
    """A dmrc that nothing else on the machine knows, and that knows no Docker until it is told of one."""

    def __init__(self, home: Path, checkout: Path | None = None) -> None:
        """Use `home` as the state directory, and a port that was free a moment ago; `checkout` is another build's."""
        self.home = home
        self.port = free_port()
        self.checkout = checkout or _ROOT
        self.program = (checkout / ".venv" / "bin" if checkout else Path(sys.executable).parent) / "dmrc"
        self.environment = {
            **{name: value for name, value in os.environ.items() if not name.startswith(_STRANGERS)},
            "DMRC_STREAM_PROCESSES": "0",  # as on a small machine, so that a large one shows the same
            "DMRC_HOME": str(home),
            "DMRC_PORT": str(self.port),
            "DOCKER_HOST": f"unix://{home}/no-docker.sock",
            "DOCKER_CONFIG": f"{home}/no-docker-config",
        }

    def run(
        self,
        *arguments: str | Path,
        env: Mapping[str, str] | None = None,
        cwd: Path | None = None,
        input: str | None = None,
        timeout: float = 120,
    ) -> subprocess.CompletedProcess[str]:
        """Run `dmrc ARGUMENTS…`, with `env` on top of the environment."""
        return subprocess.run(
            [self.program, *arguments],
            env={**self.environment, **(env or {})},
            cwd=cwd,
            input=input or "",
            capture_output=True,
            text=True,
            timeout=timeout,
        )

    def ok(
        self,
        *arguments: str | Path,
        env: Mapping[str, str] | None = None,
        cwd: Path | None = None,
        timeout: float = 120,
    ) -> str:
        """Run `dmrc ARGUMENTS…`, fail the test unless it exits 0, and return what it printed to stdout."""
        done = self.run(*arguments, env=env, cwd=cwd, timeout=timeout)
        command = " ".join(map(str, ("dmrc", *arguments)))
        assert done.returncode == 0, f"{command}: exit code {done.returncode}\n{done.stdout}\n{done.stderr}"
        return done.stdout

    def daemon_client(self) -> DaemonClient:
        """Return who asks the daemon over its socket: a command takes longer than some answers."""
        return DaemonClient(Settings.from_environment(self.environment))

    def daemon(self) -> psutil.Process:
        """Return the daemon's process."""
        status = self.daemon_client().status()
        assert status is not None, "no daemon runs"
        return psutil.Process(int(str(status["pid"])))

    def page(self, path: str) -> str:
        """Return a page of the daemon's, as a browser gets it that `dmrc ui` has let in."""
        opener = build_opener(HTTPCookieProcessor())
        opener.open(self.ok("ui", "--print").strip()).close()
        with opener.open(f"http://127.0.0.1:{self.port}{path}") as answer:
            return str(answer.read().decode())

    def registered(self) -> list[str]:
        """Return the projects that are registered, by a look into the database: no command is as quick."""
        database = self.home / "projects.sqlite3"
        if not database.exists():
            return []
        projects = Projects(database)
        try:
            return [known.name for known in projects.all()]
        finally:
            projects.close()

    def processes(self) -> list[psutil.Process]:
        """Return the running processes of this dmrc: daemon, engine children, commands.

        One that is about to end may be missing: its arguments and its environment go before it does.
        """
        return [process for process in psutil.process_iter() if self._owns(process)]

    def _owns(self, process: psutil.Process) -> bool:
        try:
            if process.status() == psutil.STATUS_ZOMBIE:
                return False
            named = any(str(self.home) in argument for argument in process.cmdline())
            return named or process.environ().get("DMRC_HOME") == str(self.home)
        except (psutil.NoSuchProcess, psutil.AccessDenied):
            return False

    def stop(self) -> None:
        """End the daemon, and fail where a process of this dmrc stays behind; it is killed then."""
        if self.processes():
            self.run("stop-runner", timeout=60)
        deadline = time.monotonic() + _STOP_SECONDS
        while (left := self.processes()) and time.monotonic() < deadline:
            time.sleep(0.05)
        names = [_describe(process) for process in left]
        for process in left:
            process.kill()
        assert not names, f"processes left behind: {names}"


def _describe(process: psutil.Process) -> str:
    try:
        return f"{process.pid} {' '.join(process.cmdline())}"
    except psutil.NoSuchProcess:
        return f"{process.pid} (gone)"


@contextmanager
def temporary_dmrc(checkout: Path | None = None) -> Iterator[Dmrc]:
    """Yield a dmrc in a new directory with a short name; at the end no process and no file of it is left."""
    home = Path(tempfile.mkdtemp(prefix="dmrc-"))
    try:
        dmrc = Dmrc(home, checkout)
        yield dmrc
        dmrc.stop()
    finally:
        for process in dmrc.processes():
            process.kill()
        shutil.rmtree(home, ignore_errors=True)
        if secrets := memory_directory(home):
            shutil.rmtree(secrets, ignore_errors=True)


@pytest.fixture
def dmrc(needs_process: None) -> Iterator[Dmrc]:
    """A dmrc for one test."""
    with temporary_dmrc() as command:
        yield command
