"""The process that becomes vLLM, with a program in its place that holds shared memory as vLLM's processes do."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from tests.polling import eventually

PROGRAM = """\
import multiprocessing, os, sys, time
from multiprocessing.shared_memory import SharedMemory

def work(name):
    SharedMemory(name, create=True, size=4096)  # a tracker of its own: this process was started anew
    print(f"{name} {os.getpid()}\\n", end="", flush=True)  # in one piece: the other process prints too
    time.sleep(600)

if __name__ == "__main__":
    multiprocessing.set_start_method("spawn")
    names = [f"dmrc-test-{os.getpid()}-{number}" for number in range(2)]
    for name in names:
        multiprocessing.Process(target=work, args=(name,)).start()
    time.sleep(600)
"""


@pytest.mark.process
@pytest.mark.skipif(sys.platform != "linux", reason="looks at /dev/shm")
def test_a_killed_server_leaves_no_process_and_no_shared_memory(tmp_path: Path) -> None:
    program = tmp_path / "program"
    program.write_text(f"#!{sys.executable}\n{PROGRAM}")
    program.chmod(0o700)
    child = subprocess.Popen(
        [sys.executable, "-P", "-m", "dmrc.engines.vllm.child", str(program)],
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    assert child.stdout is not None
    made = [child.stdout.readline().split() for _ in range(2)]
    shared = [Path("/dev/shm", name) for name, _ in made]
    assert all(path.exists() for path in shared)

    os.kill(child.pid, signal.SIGKILL)
    child.wait()

    eventually(lambda: not any(psutil.pid_exists(int(pid)) for _, pid in made))
    eventually(lambda: not any(path.exists() for path in shared))
    eventually(lambda: not _group(child.pid))


def _group(leader: int) -> list[int]:
    found = []
    for pid in psutil.pids():
        try:
            if os.getpgid(pid) == leader and psutil.Process(pid).status() != psutil.STATUS_ZOMBIE:
                found.append(pid)
        except (ProcessLookupError, psutil.Error):
            continue
    return found
