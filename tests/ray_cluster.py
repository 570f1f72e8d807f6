"""A real Ray cluster on this machine: a head without processors, and nodes that are each a raylet of its own."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import pytest

_ROOT = Path(__file__).parent.parent


@dataclass(frozen=True, slots=True)
class Killed:
    """What a node left behind when its raylet was killed."""

    survivors: list[str]
    """Its processes that were still there after 45 s."""
    seconds: float
    """How long the last of the others took to end."""
    processes: int
    """How many it had."""


class RayCluster:
    """A cluster in a process of its own; its nodes are called `node-1`, `node-2` and so on, each with its own home."""

    def __init__(self, directory: Path, processors: int = 2) -> None:
        """Start the head; its files, the nodes' and their logs are below `directory`, which has a short name."""
        self.directory = directory
        self._processors = processors
        self._log = (directory / "cluster.log").open("wb")
        environment = {name: value for name, value in os.environ.items() if not name.startswith(("RAY_", "DMRC_"))}
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.ray_cluster_process", str(directory / "ray")],
            cwd=_ROOT,
            # The file that names the latest cluster of this machine is for people, and stays as it is.
            env={**environment, "RAY_TMPDIR": str(directory), "RAY_USAGE_STATS_ENABLED": "0"},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._log,
            text=True,
        )
        self.address: str = self._read()["address"]
        """What RAY_ADDRESS is to be."""

    def add(self, *names: str) -> None:
        """Add nodes; `home(name)` is a DMRC_HOME, which stays when the node is killed, as a machine's disk does."""
        homes = {name: str(self.home(name)) for name in names}
        for home in homes.values():
            Path(home).mkdir(exist_ok=True)
        self._ask("add", homes=homes, processors=self._processors)

    def home(self, name: str) -> Path:
        """Return the DMRC_HOME of a node."""
        return self.directory / name

    def kill(self, name: str) -> Killed:
        """Kill a node's raylet by SIGKILL, and look what becomes of the rest of it."""
        return Killed(**self._ask("kill", name=name))

    @contextmanager
    def frozen(self, name: str) -> Iterator[None]:
        """Let a node hang: its connections stay, and nobody answers there. At the end another one is in its place."""
        self._ask("freeze", name=name)
        try:
            yield
        finally:
            self.kill(name)
            self.add(name)

    def alive(self) -> list[str]:
        """Return the names of the nodes that the cluster believes to be there, `head` among them."""
        return list(self._ask("nodes")["alive"])

    def processes(self) -> list[psutil.Process]:
        """Return all processes of it."""
        return psutil.Process(self._process.pid).children(recursive=True)

    def end(self) -> list[str]:
        """End it, and return what was left of it."""
        try:
            return list(self._ask("end")["left"])
        finally:
            own = self.processes()
            self._process.kill()
            self._process.wait()
            for process in own:
                process.kill()
            self._log.close()

    def _ask(self, command: str, **arguments: object) -> dict[str, Any]:
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps({"do": command, **arguments}) + "\n")
        self._process.stdin.flush()
        return self._read()

    def _read(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        if not (line := self._process.stdout.readline()):
            log = (self.directory / "cluster.log").read_text(errors="replace")
            raise AssertionError(f"the cluster has died:\n{log[-4000:]}")
        return dict(json.loads(line))


@contextmanager
def temporary_cluster(nodes: int = 3, processors: int = 2) -> Iterator[RayCluster]:
    """Yield a cluster; nothing of it is left at the end. Unix sockets want a short name of its directory."""
    directory = Path(tempfile.mkdtemp(prefix="r-", dir="/tmp"))
    try:
        cluster = RayCluster(directory, processors)
        try:
            cluster.add(*(f"node-{number}" for number in range(1, nodes + 1)))
            yield cluster
        finally:
            left = cluster.end()
        assert not left, f"processes left behind: {left}"
    finally:
        shutil.rmtree(directory, ignore_errors=True)


@pytest.fixture(scope="session")
def ray_cluster(needs_ray: None, needs_engine: None) -> Iterator[RayCluster]:
    """A cluster of three nodes, for all tests: who kills a node adds it again."""
    with temporary_cluster() as cluster:
        yield cluster
