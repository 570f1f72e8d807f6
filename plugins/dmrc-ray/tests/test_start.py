"""A bridge that waits for its first replica, while Serve cannot be asked."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

_CONTROLLER_IS_AWAY = """
import asyncio
from types import SimpleNamespace
from dmrc_ray import application, bridge

asked = []

def failure(name):
    asked.append(name)
    if len(asked) < 3:
        raise RuntimeError("Serve has no controller")
    return "no reason is known"

application.failure = failure
bridge._STATUS_SECONDS = 0.01
waiting = bridge.Bridge(SimpleNamespace(application="app", holder="home", needs=None), None)
print(asyncio.run(waiting._watch_start()))
bridge._ROOM_SECONDS = 0.0
asked.clear()
print(asyncio.run(waiting._watch_start()))
bridge._ROOM_SECONDS = -1.0
application.failure = lambda name: None

def no_room(needs):
    raise SystemError("the cluster has gone")

application.no_room = no_room
print(asyncio.run(waiting._watch_start()))
"""


def test_neither_a_controller_that_is_away_nor_a_cluster_that_goes_ends_the_bridge_by_a_traceback(
    needs_ray: None, tmp_path: Path
) -> None:
    done = subprocess.run(
        [sys.executable, "-c", _CONTROLLER_IS_AWAY], capture_output=True, text=True, timeout=120, cwd=tmp_path
    )

    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == ["no reason is known", "Serve has no controller", "the cluster has gone"]
