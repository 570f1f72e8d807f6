"""How the bridge comes to a cluster: the one that is named, or one on this machine, which all runners of a home share.

The local one is kept by a process of its own, `python -m dmrc_ray.local_cluster HOME`: it outlives a bridge that was
killed, and ends when nothing has been wanted of it for a moment.
"""

from __future__ import annotations

import json
import logging
import os
import re
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import filelock
import psutil

from dmrc_ray.order import Order

_START_SECONDS = 90.0
_PROBE_SECONDS = 3.0
_HOST_AND_PORT = re.compile(r"(?P<host>[^/]+):(?P<port>\d+)")
_POLL_SECONDS = 0.1


def directory(home: str) -> Path:
    """Return where the local cluster of a home is noted."""
    return Path(home) / "ray"


def settle_environment(home: str, address: str | None) -> None:
    """Say how Ray is to behave, before it is imported; without an address it is the cluster of this home."""
    is_local = address is None
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    os.environ.setdefault("RAY_SERVE_HANDLE_AUTOSCALING_METRIC_PUSH_INTERVAL_S", "0.5")
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
    if is_local or _is_loopback(address):
        # Else Ray takes another address of this machine in place of loopback's, where then nothing listens.
        # Source: ENABLE_RAY_CLUSTER in https://github.com/ray-project/ray/blob/master/python/ray/_private/ray_constants.py
        os.environ["RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"] = "0"
    if is_local:  # nobody else of this machine may have their code run there
        os.environ["RAY_AUTH_MODE"] = "token"
        os.environ["RAY_AUTH_TOKEN_PATH"] = str(directory(home) / "token")
        # By itself Ray gives way to whatever else runs on the machine (nice 15), which no runner of dmrc's does.
        os.environ["RAY_worker_niceness"] = "0"  # noqa: SIM112 Ray spells it so


def connect(order: Order) -> Any:
    """Connect to the cluster, have the application there, and return its registry. Blocks.

    Raises:
        ConnectionError: There is no cluster, or it does not take us.
    """
    settle_environment(order.home, order.address)
    if order.address is not None:
        _join(order.address)
        return _deployed(order)
    folder = directory(order.home)
    folder.mkdir(mode=0o700, exist_ok=True)
    with filelock.FileLock(folder / "lock"):  # until something is wanted of it, it may end
        _join(_local_address(folder))
        return _deployed(order)


def _is_loopback(address: str | None) -> bool:
    host = (address or "").rpartition(":")[0].strip("[]")
    return host in ("127.0.0.1", "localhost", "::1")


def unreachable(address: str) -> str | None:
    """Return why nothing can be reached at an address; None where something listens, or it names no port.

    Ray itself would wait for minutes.
    """
    if (found := _HOST_AND_PORT.fullmatch(address)) is None:
        return None
    try:
        socket.create_connection((found["host"].strip("[]"), int(found["port"])), _PROBE_SECONDS).close()
    except OSError as error:
        return error.strerror or "it does not answer"
    return None


def _join(address: str) -> None:
    if why := unreachable(address):
        raise ConnectionError(f"no cluster of Ray answers at {address}: {why}")
    os.environ.pop("RAY_ADDRESS", None)
    import ray

    try:
        ray.init(
            address=address,
            namespace="dmrc",
            log_to_driver=False,
            configure_logging=False,
            logging_level=logging.ERROR,
        )
    except (ConnectionError, ValueError, RuntimeError) as error:
        raise ConnectionError(f"no cluster of Ray answers at {address}: {_first_line(error)}") from error


def _deployed(order: Order) -> Any:
    import ray

    from dmrc_ray.application import telling
    from dmrc_ray.application_registry import application_registry

    found = application_registry()
    try:
        ray.get(found.deploy.remote(order.to_json(), str(os.getpid())))
    except ray.exceptions.RayError as error:
        raise ConnectionError(f"the cluster does not take the application: {telling(str(error))}") from error
    return found


def _local_address(folder: Path) -> str:
    """Return the address of the local cluster; it is started where there is none."""
    noted = folder / "cluster.json"
    if (address := _address(noted)) is not None:
        return address
    noted.unlink(missing_ok=True)
    with (folder / "cluster.log").open("ab") as log:
        keeper = subprocess.Popen(
            [sys.executable, "-P", "-m", "dmrc_ray.local_cluster", str(folder.parent)],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
            env={**os.environ, "DMRC_HOME": str(folder.parent)},
        )
    deadline = time.monotonic() + _START_SECONDS
    while (address := _address(noted)) is None:
        if keeper.poll() is not None or time.monotonic() > deadline:
            raise ConnectionError(f"no cluster of Ray starts on this machine. See {folder / 'cluster.log'}")
        time.sleep(_POLL_SECONDS)
    return address


def _address(noted: Path) -> str | None:
    """Return what is noted, where its keeper lives."""
    try:
        document = json.loads(noted.read_text())
        lives = psutil.Process(document["pid"]).create_time() == document["since"]
    except (OSError, ValueError, KeyError, psutil.Error):
        return None
    return str(document["address"]) if lives else None


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:300]
