"""Without an address: a cluster of one home on this machine, which is there for as long as it is wanted."""

from __future__ import annotations

import contextlib
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from dmrc.project import ServingOptions
from tests.ray_bridges import Bridge, model_at, servers, until
from tests.tiny_gguf import write_tiny_llama


@pytest.fixture
def home(needs_ray: None, needs_engine: None) -> Iterator[Path]:
    """A home with a short name: it is for sockets."""
    directory = Path(tempfile.mkdtemp(prefix="l-", dir="/tmp"))
    yield directory
    shutil.rmtree(directory, ignore_errors=True)


def of_cluster(home: Path) -> list[psutil.Process]:
    """Return the processes of the home's cluster: who keeps it, and what that has started."""
    found = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error):
            if "dmrc_ray.local_cluster" in process.cmdline() and str(home) in process.cmdline():
                found += [process, *process.children(recursive=True)]
    return found


def listening(processes: list[psutil.Process]) -> set[str]:
    """Return the addresses at which they listen."""
    found = set()
    for process in processes:
        with contextlib.suppress(psutil.Error):
            found |= {each.laddr.ip for each in process.net_connections() if each.status == psutil.CONN_LISTEN}
    return {address.removeprefix("::ffff:") for address in found}


def test_a_cluster_is_started_on_loopback_kept_for_the_next_bridge_and_ends_with_its_last_application(
    home: Path,
) -> None:
    path = write_tiny_llama(home / "tiny.gguf", context_length=4096)
    options = ServingOptions(context_size=512, parallel=2)
    first = Bridge(home, model_at(path), options).ready()
    try:
        (replica,) = first.replicas()
        own = of_cluster(home)
        assert listening(own) <= {"127.0.0.1", "::1"}
        assert [each.nice() for each in servers(path)] == [0]
        assert (home / "ray" / "token").stat().st_mode & 0o077 == 0
        first.kill()

        second = Bridge(home, model_at(path), options).ready()

        assert second.replicas()[0]["name"] == replica["name"]
        assert second.chat().status == 200
        assert second.end() == 0
    finally:
        first.end()
    until(lambda: not any(each.is_running() for each in own), 90, f"left: {own}")
    assert not servers(path)
    assert sorted(each.name for each in (home / "ray").iterdir()) == ["cluster.log", "holder", "lock", "token"]
