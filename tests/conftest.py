"""What every test gets: groups, real tools as fixtures, and guards against what a test must not leave or reach."""

from __future__ import annotations

import gc
import ipaddress
import os
import sys
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

pytest_plugins = [
    "tests.skulk",
    "tests.vulkan",
    "tests.wheels",
    "tests.groups",
    "tests.fast",
    "tests.registry",
    "tests.docker_engine",
    "tests.images",
    "tests.real_model",
    "tests.dmrc_command",
    "tests.ray_cluster",
    "tests.kubernetes.cluster",
    "tests.kubernetes.schemas",
]


def _refuse_strangers(event: str, arguments: tuple[object, ...]) -> None:
    """Refuse a connection to another machine: a test that needs the network is no test."""
    if event != "socket.connect" or not isinstance(address := arguments[1], tuple):
        return
    host = str(address[0])
    if host != "localhost" and not _is_own_address(host):
        raise PermissionError(f"a test connects to {host}; only this machine's addresses are allowed")


def _is_own_address(host: str) -> bool:
    try:
        if ipaddress.ip_address(host.partition("%")[0]).is_loopback:
            return True
    except ValueError:
        return False
    return any(host == entry.address for entries in psutil.net_if_addrs().values() for entry in entries)


def pytest_configure() -> None:
    """Guard the whole process, which an audit hook does for good.

    What is collected stays until the end, and the garbage collector looks for garbage among it in vain until then.
    """
    sys.addaudithook(_refuse_strangers)
    gc.disable()


def pytest_collection_finish() -> None:
    """Leave what was collected out of the garbage collections of the tests."""
    gc.freeze()
    gc.enable()


def pytest_xdist_auto_num_workers() -> int:
    """Take one more than there are cores, up to 8: some tests wait for time to pass, and each worker collects all."""
    return min(8, 1 + (os.cpu_count() or 1))


@pytest.fixture(scope="session", autouse=True)
def _no_home_of_the_user(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Point code under test away from the user's own models, daemon, Docker and credentials."""
    home = tmp_path_factory.getbasetemp() / "no-home"
    with pytest.MonkeyPatch.context() as patch:
        for name in [name for name in os.environ if name.startswith(("DMRC_", "OPENAI_", "MODEL_RUNNER_"))]:
            if not name.startswith("DMRC_TEST_"):
                patch.delenv(name)
        patch.setenv("DMRC_HOME", str(home))
        yield home


@pytest.fixture(autouse=True)
def _no_process_left_behind() -> Iterator[None]:
    """Fail a test that leaves a child process.

    Those of fixtures that outlive it were there before, or are children of these: a browser starts some when it likes.
    """
    before = _children()
    yield
    left = [child for child in _children() if child not in before and before.isdisjoint(_parents(child))]
    alive = [child for child in psutil.wait_procs(left, timeout=10)[1] if not _belongs_to_multiprocessing(child)]
    for child in alive:
        child.kill()
    assert not alive, f"processes left behind: {alive}"


def _children() -> set[psutil.Process]:
    """Return our children and theirs. To look for them takes 10 ms, and most tests have none."""
    try:
        os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
    except ChildProcessError:
        return set()
    return set(psutil.Process().children(recursive=True))


def _parents(process: psutil.Process) -> list[psutil.Process]:
    try:
        return process.parents()
    except psutil.NoSuchProcess:
        return []


def _belongs_to_multiprocessing(process: psutil.Process) -> bool:
    """Tell multiprocessing's own helpers, which end with us."""
    try:
        return any("from multiprocessing" in argument for argument in process.cmdline())
    except psutil.NoSuchProcess:
        return True
