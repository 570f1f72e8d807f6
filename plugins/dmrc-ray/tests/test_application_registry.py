"""The registry, where removals take long or fail. In a process of its own: Ray takes over what imports it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

_SLOW_REMOVAL = """
import asyncio, threading, time
from dmrc_ray import application, application_registry

removed, go_on = [], threading.Event()

def remove(name):
    if name == "failing" and "failing" not in removed:
        removed.append(name)
        raise RuntimeError("Serve has no controller")
    if name == "slow":
        go_on.wait(60)
    removed.append(name)

async def main():
    application.remove = remove
    application_registry._LOOK_SECONDS, application_registry._SILENCE_SECONDS = 0.05, 0.0
    registry = application_registry.ApplicationRegistry()
    for name in ("failing", "slow", "left"):
        await registry.heartbeat(name, "home", "1", 0.01 if name != "left" else 60)
    async with asyncio.timeout(10):
        while "slow" not in registry._applications or not registry._applications["slow"].lock.locked():
            await asyncio.sleep(0.005)
    await registry.leave("left", "home", "1")
    await registry.heartbeat("late", "home", "1", 0.01)
    go_on.set()
    deadline = time.monotonic() + 30
    while registry._applications and time.monotonic() < deadline:
        await asyncio.sleep(0.05)
    print(*sorted(removed))

asyncio.run(main())
"""

_LONG_REMOVALS = """
import asyncio, threading
from dmrc_ray import application, application_registry

removed, go_on = [], threading.Event()

def remove(name):
    if name.startswith("long"):
        go_on.wait(60)
    removed.append(name)

async def until(claim):
    async with asyncio.timeout(20):
        while not claim():
            await asyncio.sleep(0.01)

async def main():
    application.remove = remove
    application_registry._LOOK_SECONDS, application_registry._SILENCE_SECONDS = 0.05, 0.0
    registry = application_registry.ApplicationRegistry()
    long = [f"long-{number}" for number in range(40)]  # more than the event loop has threads
    for name in long:
        await registry.heartbeat(name, "home", "1", 0.01)
    known = registry._applications
    await until(lambda: all(name in known and known[name].lock.locked() for name in long))
    await registry.heartbeat("late", "home", "1", 0.01)
    await registry.announce("kept", {"name": "llm-1", "node": "box", "state": "ready"})
    await registry.heartbeat("kept", "home", "1", 60)
    await until(lambda: removed and not known["kept"].replicas)
    print(*removed)
    await asyncio.to_thread(print, "a thread is free")
    go_on.set()
    await until(lambda: list(known) == ["kept"])
    print(len(removed), len(set(removed)))

asyncio.run(main())
"""


def test_removals_that_wait_for_requests_hold_up_neither_others_nor_the_look_at_replicas(
    needs_ray: None, tmp_path: Path
) -> None:
    assert _printed(_LONG_REMOVALS, tmp_path) == ["late", "a thread is free", "41 41"]


def test_one_that_leaves_while_another_is_removed_and_a_removal_that_fails_end_no_looking(
    needs_ray: None, tmp_path: Path
) -> None:
    assert _printed(_SLOW_REMOVAL, tmp_path) == ["failing failing late left slow"]


def _printed(program: str, directory: Path) -> list[str]:
    """Return the lines that a program prints in a process of its own, for Ray takes over the one that imports it."""
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=120, cwd=directory, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()
