"""Keeps one container: runs it, prints what it prints, ends as it ends, and has it gone whatever happens.

`python -m dmrc.engines.container.keeper ORDER` is the child of the daemon in place of the server: so a container is
watched, logged and ended as every engine is. When the daemon dies, this process is told so by the system, and removes
the container. Where it is killed itself, the daemon does (`outside.py`), and where both are, the next daemon does.
"""

from __future__ import annotations

import contextlib
import os
import resource
import shutil
import signal
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from types import FrameType
from typing import Any

import docker
import docker.types

from dmrc.engines.container import docker_api, forwarder
from dmrc.engines.container.failures import SAID
from dmrc.engines.container.order import PORT, RUN, SOCKET, Order
from dmrc.engines.parent_death import die_with_parent
from dmrc.errors import DockerError
from dmrc.gguf import format_size

_PIDS = 4096  # threads are counted, and a server has as many as there are cores, several times
_SHARED_MEMORY = "1g"  # Docker's 64 MB are too little for servers of several processes
_NOTE_SECONDS = 5.0
_ENDING = {signal.SIGTERM, signal.SIGINT}


class Keeper:
    """Of one container."""

    def __init__(self, order: Order) -> None:
        """Do nothing yet."""
        self._order = order
        self._forwarding_failed: str | None = None
        self._noted_at = time.monotonic()

    def run(self) -> int:
        """Run it until it ends, and return its exit code.

        Raises:
            DockerError: It cannot be run.
            SystemExit: This process was told to end.
        """
        order = self._order
        image = docker_api.pull_missing(
            order.docker_host, order.image, uses_card=order.uses_card, progress=self._note_pull
        )
        docker_api.remove(order.docker_host, order.name)
        with docker_api.client(order.docker_host) as api:
            # Whoever ends us between a request and its answer would leave what nobody knows of.
            with _uninterrupted():
                info = api.info()
                api.create_container(
                    image,
                    order.command,
                    name=order.name,
                    labels=order.labels,
                    environment=order.environment,
                    user="0:0" if _has(info, "rootless") else f"{os.getuid()}:{os.getgid()}",
                    healthcheck={"test": ["NONE"]},
                    host_config=api.create_host_config(**self._limits(info)),
                    use_config_proxy=False,
                )
                printed = api.attach(order.name, stream=True)
                api.start(order.name)
                self._write_pid(api.inspect_container(order.name)["State"]["Pid"])
                if order.has_port:
                    threading.Thread(target=self._forward, daemon=True).start()
            for chunk in printed:
                sys.stdout.buffer.write(chunk)
                sys.stdout.buffer.flush()
            exit_code = api.wait(order.name)["StatusCode"]
        if self._forwarding_failed is not None:
            raise DockerError(self._forwarding_failed)
        return exit_code

    def remove(self) -> None:
        """Have it gone, and what was made for it on this machine.

        Raises:
            DockerError: It may still be there.
        """
        docker_api.remove(self._order.docker_host, self._order.name)
        shutil.rmtree(self._order.directory, ignore_errors=True)
        Path(self._order.pid_file).unlink(missing_ok=True)

    def _limits(self, info: dict[str, Any]) -> dict[str, Any]:
        """Return what it may and may not: nothing but read its model, compute, and answer on a socket of ours."""
        order, card = self._order, docker_api.access(info, uses_card=self._order.uses_card)
        mount = docker.types.Mount
        read_only = [mount(there, here, type="bind", read_only=True) for here, there in order.mounts]
        more: dict[str, Any] = {}
        if card.is_nvidia:
            more["device_requests"] = [docker.types.DeviceRequest(count=-1, capabilities=[["gpu"]])]
        if order.memory_bytes is not None:
            more |= {"mem_limit": order.memory_bytes, "memswap_limit": order.memory_bytes}
        if _has(info, "userns"):
            more["userns_mode"] = "host"  # the model's files are ours, and those users are others
        return {
            "network_mode": "none",
            "read_only": True,
            "tmpfs": {"/tmp": "rw,exec,nosuid,nodev,mode=1777"},  # noqa: S108 in the container
            "cap_drop": ["ALL"],
            # SELinux would want the model's files to be relabelled, for this container and no program beside it.
            "security_opt": ["no-new-privileges", *(["label=disable"] if _has(info, "selinux") else [])],
            "pids_limit": _PIDS,
            "shm_size": _SHARED_MEMORY,
            "log_config": {"type": "none"},  # the daemon's log is the only one: it leaves out what requests say
            "mounts": [*read_only, mount(RUN, order.directory, type="bind")],
            "devices": [f"{name}:{name}:rw" for name in card.devices],
            "group_add": list(card.groups),
            **more,
        }

    def _write_pid(self, pid: int) -> None:
        path = Path(self._order.pid_file)
        temporary = path.with_suffix(".tmp")
        temporary.write_text(str(pid))
        temporary.rename(path)

    def _forward(self) -> None:
        """Lead the socket to the server's port, by a program in the container. Where that ends, the container does."""
        order, source = self._order, Path(forwarder.__file__).read_text()
        said = b""
        try:
            with docker_api.client(order.docker_host) as api:
                begun = api.exec_create(order.name, ["python3", "-c", source, SOCKET, str(PORT)])
                for chunk in api.exec_start(begun["Id"], stream=True):
                    said = (said + chunk)[-2000:]
        except DockerError as error:
            said = error.message.encode()
        if self._has_ended():
            return
        words = said.decode(errors="replace").strip().splitlines()
        self._forwarding_failed = (
            "its server has a port and no unix socket, for which the image must have a python3 that runs"
            f"{f': {words[-1]}' if words else ''}"
        )
        with contextlib.suppress(DockerError):
            docker_api.remove(order.docker_host, order.name)

    def _has_ended(self) -> bool:
        with contextlib.suppress(DockerError), docker_api.client(self._order.docker_host) as api:
            return not api.inspect_container(self._order.name)["State"]["Running"]
        return True  # it is gone, or so is Docker

    def _note_pull(self, layer: str, current: int, size: int) -> None:
        """Print now and then how far it is: the daemon takes a silent start for a stalled one."""
        if time.monotonic() - self._noted_at > _NOTE_SECONDS:
            self._noted_at = time.monotonic()
            print(f"dmrc pulls layer {layer}: {format_size(current)} of {format_size(size)}", flush=True)


def main(order: Order) -> None:
    """Keep a container to its end, and end as it did."""
    if order.docker_config is not None:
        os.environ["DOCKER_CONFIG"] = order.docker_config
    for number in _ENDING:
        signal.signal(number, _told_to_end)
    die_with_parent(signal.SIGTERM)
    keeper = Keeper(order)
    try:
        exit_code = keeper.run()
    except DockerError as error:
        _say(error)
        exit_code = 1
    finally:
        with _uninterrupted():
            try:
                keeper.remove()
            except DockerError as error:
                _say(error)
    _end_as(exit_code)


def _end_as(exit_code: int) -> None:
    """End with the exit code, or by the signal that ended the server: a shell's 128 and more."""
    if exit_code > 128:
        with contextlib.suppress(ValueError):
            number = signal.Signals(exit_code - 128)
            resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
            signal.signal(number, signal.SIG_DFL) if number is not signal.SIGKILL else None
            os.kill(os.getpid(), number)
    sys.exit(exit_code)


def _told_to_end(_number: int, _frame: FrameType | None) -> None:
    sys.exit(0)


@contextlib.contextmanager
def _uninterrupted() -> Iterator[None]:
    """Put off the signals that end this process; threads that are begun here get none of them."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, _ENDING)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _has(info: dict[str, Any], option: str) -> bool:
    """Return whether the Docker engine has an option of security: `name=rootless`."""
    return any(f"name={option}" in str(one).split(",") for one in info.get("SecurityOptions") or ())


def _say(error: DockerError) -> None:
    """Print why, for the daemon to find it in the log; nobody may listen any more."""
    with contextlib.suppress(OSError):
        print(f"{SAID}{error.message}", flush=True)


if __name__ == "__main__":
    main(Order.from_json(sys.argv[1]))
