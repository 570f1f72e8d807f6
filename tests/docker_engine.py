"""A Docker engine of our own: private socket, data, bridge and client configuration, gone at the end of the run."""

from __future__ import annotations

import ipaddress
import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import psutil
import pytest

from tests.groups import compose_binary

_START_SECONDS = 60
_STOP_SECONDS = 30


@dataclass(frozen=True, slots=True)
class DockerEngine:
    """A running Docker engine."""

    directory: Path
    """All its files; short, since a socket's name may have 108 bytes."""
    bridge: ipaddress.IPv4Interface
    """Address of the default bridge: what `host-gateway` means in a container."""

    @property
    def host(self) -> str:
        """Return `DOCKER_HOST`."""
        return f"unix://{self.directory}/d.sock"

    @property
    def environment(self) -> dict[str, str]:
        """Return the variables that lead a client to this engine, and `docker compose` to Compose v5."""
        return {"DOCKER_HOST": self.host, "DOCKER_CONFIG": str(self.directory / "config")}

    def docker(self, *arguments: str, check: bool = True, timeout: float = 120) -> str:
        """Run the Docker client and return what it printed, errors included."""
        done = subprocess.run(
            ["docker", *arguments],
            env={**os.environ, **self.environment},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=timeout,
        )
        assert not check or done.returncode == 0, f"docker {' '.join(arguments)}: {done.stdout}"
        return done.stdout


@pytest.fixture(scope="session")
def docker_engine(needs_docker: None) -> Iterator[DockerEngine]:
    """A Docker engine for this run, with Compose."""
    with running_docker() as engine:
        yield engine


@contextmanager
def running_docker() -> Iterator[DockerEngine]:
    """Run a Docker engine, as root, until the block ends."""
    with ExitStack() as stack:
        directory = Path(tempfile.mkdtemp(prefix="dk-"))
        stack.callback(shutil.rmtree, directory)
        plugins = directory / "config" / "cli-plugins"
        plugins.mkdir(parents=True)
        (plugins / "docker-compose").symlink_to(compose_binary() or "")
        engine = DockerEngine(directory, stack.enter_context(_bridge()))
        stack.callback(_unmount_below, directory)
        stack.enter_context(_dockerd(engine))
        yield engine


@contextmanager
def _bridge() -> Iterator[ipaddress.IPv4Interface]:
    """A bridge of our own: a second engine at `docker0` would take it from the first."""
    address = ipaddress.IPv4Interface(f"{_free_network()[1]}/24")
    name = f"dmrc{os.getpid()}"
    subprocess.run(["ip", "link", "add", name, "type", "bridge"], check=True)
    try:
        subprocess.run(["ip", "address", "add", str(address), "dev", name], check=True)
        subprocess.run(["ip", "link", "set", name, "up"], check=True)
        yield address
    finally:
        subprocess.run(["ip", "link", "delete", name], check=True)


def _free_network() -> ipaddress.IPv4Network:
    """Return a private /16 that no interface of this machine is in."""
    used = [
        ipaddress.IPv4Interface(f"{address.address}/{address.netmask}").network
        for addresses in psutil.net_if_addrs().values()
        for address in addresses
        if address.family.name == "AF_INET" and address.netmask
    ]
    networks = [ipaddress.IPv4Network(f"10.{(os.getpid() + n) % 256}.0.0/16") for n in range(256)]
    return next(network for network in networks if not any(network.overlaps(other) for other in used))


@contextmanager
def _dockerd(engine: DockerEngine) -> Iterator[None]:
    """Run dockerd; at the end its containers, networks and processes are gone."""
    alone = not any(process.info["name"] == "dockerd" for process in psutil.process_iter(["name"]))
    directory, pool = engine.directory, engine.bridge.network.supernet(new_prefix=16)
    (directory / "daemon.json").write_text("{}")
    argv = [
        # It ends with us, however we end.
        *("setpriv", "--pdeathsig", "TERM", "dockerd"),
        *("--config-file", f"{directory}/daemon.json", "--host", engine.host, "--pidfile", f"{directory}/pid"),
        *("--data-root", f"{directory}/data", "--exec-root", f"{directory}/exec"),
        *("--bridge", f"dmrc{os.getpid()}", "--default-address-pool", f"base={pool[128 << 8]}/17,size=24"),
        # A starting engine empties the iptables chains of every other one on the machine.
        *([] if alone else ["--iptables=false", "--ip6tables=false", "--ip-masq=false"]),
    ]
    log = directory / "log"
    with log.open("wb") as output:
        process = subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=output, stderr=output, start_new_session=True)
    try:
        _wait_until_ready(engine, process, log)
        yield
        _remove_everything(engine)
    finally:
        process.terminate()
        try:
            process.wait(_STOP_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        _kill_left_behind(directory)


def _wait_until_ready(engine: DockerEngine, process: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + _START_SECONDS
    while "Server Version" not in engine.docker("info", check=False):
        if process.poll() is not None or time.monotonic() > deadline:
            pytest.fail(f"dockerd does not start:\n{log.read_text()[-2000:]}", pytrace=False)
        time.sleep(0.1)


def _remove_everything(engine: DockerEngine) -> None:
    """Remove containers and networks: dockerd would leave a bridge for each network on the machine."""
    if containers := engine.docker("ps", "--all", "--quiet").split():
        engine.docker("rm", "--force", "--volumes", *containers)
    engine.docker("network", "prune", "--force")


def _kill_left_behind(directory: Path) -> None:
    """Kill containerd and its shims where dockerd could not end them itself."""
    left = [
        process
        for process in psutil.process_iter(["cmdline"])
        if any(str(directory) in argument for argument in process.info["cmdline"] or [])
    ]
    for process in left:
        process.kill()
    psutil.wait_procs(left, _STOP_SECONDS)


def _unmount_below(directory: Path) -> None:
    """Unmount what is mounted below the directory, innermost first. Source: proc(5), mountinfo."""
    points = [line.split()[4] for line in Path("/proc/self/mountinfo").read_text().splitlines()]
    for point in sorted((point for point in points if Path(point).is_relative_to(directory)), reverse=True):
        subprocess.run(["umount", "--lazy", point], check=True)
