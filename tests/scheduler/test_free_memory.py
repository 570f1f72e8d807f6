"""What control groups leave of the system's memory, in trees of files as the kernel writes them, and in a real one."""

from __future__ import annotations

import json
import os
import re
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from dmrc.scheduler.free_memory import FreeMemory
from tests.dmrc_command import Dmrc
from tests.groups import memory_group
from tests.polling import eventually
from tests.tiny_gguf import write_tiny_llama

MIB = 1 << 20
UNLIMITED = 9223372036854771712


def unified(directory: Path, limit: str, used: int = 0, cache: int = 0, high: str = "max") -> None:
    directory.mkdir(parents=True, exist_ok=True)
    (directory / "memory.max").write_text(f"{limit}\n")
    (directory / "memory.high").write_text(f"{high}\n")
    (directory / "memory.current").write_text(f"{used}\n")
    (directory / "memory.stat").write_text(f"anon 7\nfile 99\nactive_file {cache}\ninactive_file {cache}\nshmem 5\n")


def legacy(directory: Path, limit: int, used: int = 0, cache: int = 0) -> None:
    directory.mkdir(parents=True, exist_ok=True)
    (directory / "memory.limit_in_bytes").write_text(f"{limit}\n")
    (directory / "memory.usage_in_bytes").write_text(f"{used}\n")
    (directory / "memory.stat").write_text(
        f"inactive_file 1\ntotal_inactive_file {cache}\ntotal_active_file {cache}\ntotal_cache 9999\n"
    )


def free(tmp_path: Path, membership: str) -> int:
    (tmp_path / "membership").write_text(membership)
    return FreeMemory(tmp_path / "cgroup", tmp_path / "membership")()


def is_the_systems(size: int) -> bool:
    return abs(size - psutil.virtual_memory().available) < 512 * MIB


def test_a_limit_less_what_is_used_and_is_no_cache_is_free(tmp_path: Path) -> None:
    unified(tmp_path / "cgroup" / "user" / "app", "1000000", used=700_000, cache=100_000)

    assert free(tmp_path, "0::/user/app\n") == 1_000_000 - 700_000 + 200_000


def test_the_tightest_group_of_the_chain_counts(tmp_path: Path) -> None:
    root = tmp_path / "cgroup"
    unified(root / "a" / "b" / "c", "max", used=10)
    unified(root / "a" / "b", str(500 * MIB), used=100 * MIB)
    unified(root / "a", str(600 * MIB), used=550 * MIB)

    assert free(tmp_path, "0::/a/b/c\n") == 50 * MIB


def test_the_mark_above_which_the_kernel_slows_processes_down_is_a_limit_too(tmp_path: Path) -> None:
    unified(tmp_path / "cgroup" / "a", str(500 * MIB), used=100 * MIB, high=str(300 * MIB))

    assert free(tmp_path, "0::/a\n") == 200 * MIB


def test_version_1_has_other_names_and_counts_the_groups_below(tmp_path: Path) -> None:
    root = tmp_path / "cgroup" / "memory"
    legacy(root / "box", 100 * MIB, used=60 * MIB, cache=10 * MIB)
    legacy(root, UNLIMITED)

    assert free(tmp_path, "9:name=systemd:/\n4:memory:/box\n2:cpu,cpuacct:/other\n0::/\n") == 60 * MIB


def test_a_path_of_the_host_that_a_container_does_not_see_leads_to_its_own_root(tmp_path: Path) -> None:
    unified(tmp_path / "cgroup", str(80 * MIB), used=30 * MIB)

    assert free(tmp_path, "0::/docker/0123456789ab\n") == 50 * MIB


def test_more_used_than_allowed_is_nothing_free(tmp_path: Path) -> None:
    unified(tmp_path / "cgroup" / "a", "1000", used=2000)

    assert free(tmp_path, "0::/a\n") == 0


@pytest.mark.parametrize("membership", ["", "0::/a\n", "4:memory:/\n"])
def test_without_a_limit_it_is_what_the_system_has(tmp_path: Path, membership: str) -> None:
    unified(tmp_path / "cgroup" / "a", "max")
    legacy(tmp_path / "cgroup" / "memory", UNLIMITED)

    assert is_the_systems(free(tmp_path, membership))


def test_where_there_are_no_control_groups_it_is_what_the_system_has(tmp_path: Path) -> None:
    assert is_the_systems(FreeMemory(tmp_path / "none", tmp_path / "none")())


def test_reading_costs_little() -> None:
    memory = FreeMemory()
    began = time.process_time()

    for _ in range(100):
        memory()

    assert (time.process_time() - began) / 100 < 0.005


class Box:
    """A real control group with a limit."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self._is_unified = (directory / "memory.max").exists()

    def enter(self) -> None:
        """Move this process in; for `preexec_fn`."""
        (self.directory / "cgroup.procs").write_text(str(os.getpid()))

    def allow_more(self, size: int) -> None:
        """Set the limit that much above what is used and is no cache."""
        names = ("memory.max", "memory.current") if self._is_unified else ("memory.limit_in_bytes",) * 2
        stat = dict(line.split() for line in (self.directory / "memory.stat").read_text().splitlines())
        anonymous = int(stat["anon"] if self._is_unified else stat["total_rss"])
        (self.directory / names[0]).write_text(str(anonymous + size))

    def kills(self) -> int:
        """How many processes the kernel has killed in it for want of memory."""
        name = "memory.events" if self._is_unified else "memory.oom_control"
        words = dict(line.split() for line in (self.directory / name).read_text().splitlines())
        return int(words["oom_kill"])


@pytest.fixture
def box(needs_cgroup: None) -> Iterator[Box]:
    parent = memory_group()
    assert parent is not None
    directory = parent / f"dmrc-test-{os.getpid()}"
    directory.mkdir()
    yield Box(directory)
    eventually(lambda: not (directory / "cgroup.procs").read_text(), "end of the last process in the group")
    directory.rmdir()


def ask(dmrc: Dmrc, model: str) -> tuple[int, str]:
    body = {"model": model, "prompt": "ba be", "max_tokens": 4}
    request = urllib.request.Request(
        f"http://127.0.0.1:{dmrc.port}/v1/completions", json.dumps(body).encode(), {"content-type": "application/json"}
    )
    try:
        with urllib.request.urlopen(request, timeout=60) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()


@pytest.mark.engine
def test_in_a_group_with_room_for_one_of_two_they_take_turns_and_nothing_is_killed(
    dmrc: Dmrc, box: Box, tmp_path: Path
) -> None:
    gguf = write_tiny_llama(tmp_path / "deep.gguf", context_length=1 << 17, block_count=16)
    for name, context_size in (("a", 16384), ("b", 20480), ("huge", 1 << 17)):
        dmrc.ok("package", "--gguf", gguf, "--context-size", str(context_size), f"me/{name}")
    daemon = subprocess.Popen(
        [dmrc.program, "serve"],
        env=dmrc.environment,
        stderr=subprocess.DEVNULL,
        preexec_fn=box.enter,
        start_new_session=True,
    )
    try:
        eventually(lambda: dmrc.run("status").returncode == 0, "daemon")
        box.allow_more(160 * MIB)  # one takes about 100

        for name in ("a", "b", "a", "b"):
            status, text = ask(dmrc, f"me/{name}")

            assert status == 200, text
            (runner,) = json.loads(dmrc.ok("ps", "--json"))
            assert runner["model"] == f"docker.io/me/{name}:latest"
        status, text = ask(dmrc, "me/huge")

        assert status == 503
        assert re.search(r"with context_size 131072 needs [1-9]\d\d\.\d\d MB", text)
        assert "would fit" in text
        assert box.kills() == 0
    finally:
        daemon.terminate()
        daemon.wait(20)
