"""Keeps the cluster of one home on this machine: one node, on loopback only, without a dashboard."""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import shutil
import signal
import sys
import time
from pathlib import Path
from types import FrameType

import filelock
import psutil

from dmrc.files import replace_file
from dmrc_ray.cluster import directory, settle_environment
from dmrc_ray.own_files import own_directory

_POLL_SECONDS = 0.5
_OBJECTS_BYTES = 100 << 20  # nothing large goes through Ray
_FIRST_SECONDS = 60.0
"""How long it waits for the first who wants something of it."""


def main(home: str) -> int:
    """Keep it until nobody wants anything of it, or SIGTERM."""
    folder = directory(home)
    token = folder / "token"
    os.umask(0o077)
    if not token.exists():
        replace_file(token, secrets.token_hex(32).encode())
    settle_environment(home, None)
    os.environ.pop("RAY_ADDRESS", None)
    import ray

    files = own_directory()
    try:
        context = ray.init(
            include_dashboard=False,
            object_store_memory=_OBJECTS_BYTES,
            _temp_dir=str(files),
            log_to_driver=False,
            namespace="dmrc",
        )
        signal.signal(signal.SIGTERM, _end)
        own = psutil.Process()
        document = {"address": context.address_info["gcs_address"], "pid": own.pid, "since": own.create_time()}
        replace_file(folder / "cluster.json", json.dumps(document).encode())
        _wait_unwanted(folder)
    finally:
        ray.shutdown()
        shutil.rmtree(files, ignore_errors=True)
    return 0


def _wait_unwanted(folder: Path) -> None:
    import ray

    from dmrc_ray.application_registry import found_registry

    began, was_wanted = time.monotonic(), False
    while True:
        time.sleep(_POLL_SECONDS)
        registry = found_registry()
        is_empty = True
        if registry is not None:
            with contextlib.suppress(ray.exceptions.RayError):
                is_empty = ray.get(registry.is_empty.remote())
                was_wanted = was_wanted or not is_empty
        if not is_empty or (not was_wanted and time.monotonic() - began < _FIRST_SECONDS):
            continue
        with contextlib.suppress(filelock.Timeout), filelock.FileLock(folder / "lock", timeout=0):
            (folder / "cluster.json").unlink(missing_ok=True)
            return


def _end(_number: int, _frame: FrameType | None) -> None:
    raise SystemExit(0)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
