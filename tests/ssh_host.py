"""Two machines in one: a dmrc here, and another home behind a real sshd on loopback that lets one key in."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import psutil

from tests.dmrc_command import Dmrc, temporary_dmrc
from tests.polling import eventually
from tests.ports import free_port
from tests.processes import command_of

SSHD = shutil.which("sshd", path=f"{os.environ['PATH']}:/usr/sbin:/sbin")
HOST = "ssh://box"
"""What the configuration of ssh here calls the machine there."""


@dataclass(slots=True)
class SshHost:
    """A machine there, and one here whose ssh knows it as `box`."""

    here: Dmrc
    there: Dmrc
    directory: Path
    """Keys and configurations of both ends."""
    port: int
    settings: list[str] = field(default_factory=list)
    """More lines of sshd's configuration, for the next `start`."""
    _sshd: subprocess.Popen[bytes] | None = None

    def prepare(self) -> None:
        """Make keys and configurations; `ssh` here is the machine's own, with this configuration."""
        for name in ("host_key", "key", "strangers_key"):
            subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", self.directory / name], check=True)
        shutil.copy(self.directory / "key.pub", self.directory / "authorized_keys")
        self.know_host()
        self.use_key("key")
        ssh = self.directory / "bin" / "ssh"
        ssh.parent.mkdir()
        ssh.write_text(f'#!/bin/sh\nexec {shutil.which("ssh")} -F {self.directory}/config "$@"\n')
        ssh.chmod(0o755)
        self.here.environment |= {
            "PATH": f"{ssh.parent}:{os.environ['PATH']}",
            "DMRC_REMOTE_COMMAND": str(self.there.program),
        }

    def know_host(self, known: bool = True) -> None:
        """Have ssh here know the key of the machine there, or not."""
        key = (self.directory / "host_key.pub").read_text()
        (self.directory / "known_hosts").write_text(f"[127.0.0.1]:{self.port} {key}" if known else "")

    def use_key(self, name: str) -> None:
        """Have ssh here show this key."""
        (self.directory / "config").write_text(
            f"Host box\n  HostName 127.0.0.1\n  Port {self.port}\n  IdentityFile {self.directory / name}\n"
            f"  IdentitiesOnly yes\n  IdentityAgent none\n  UserKnownHostsFile {self.directory / 'known_hosts'}\n"
            "  GlobalKnownHostsFile none\n  StrictHostKeyChecking yes\n"
        )

    def start(self) -> None:
        """Start sshd, and wait until it listens."""
        if os.geteuid() == 0:
            Path("/run/sshd").mkdir(exist_ok=True)
        home = {"DMRC_HOME": str(self.there.home), "DMRC_PORT": str(self.there.port)}
        lines = [
            f"Port {self.port}",
            "ListenAddress 127.0.0.1",
            f"HostKey {self.directory / 'host_key'}",
            f"AuthorizedKeysFile {self.directory / 'authorized_keys'}",
            f"PidFile {self.directory / 'sshd.pid'}",
            "UsePAM no",
            "PasswordAuthentication no",
            "KbdInteractiveAuthentication no",
            "StrictModes no",
            "PermitRootLogin prohibit-password",
            "SetEnv " + " ".join(f"{name}={value}" for name, value in home.items()),
            *self.settings,
        ]
        config = self.directory / "sshd_config"
        config.write_text("\n".join(lines) + "\n")
        with (self.directory / "sshd.log").open("ab") as log:
            self._sshd = subprocess.Popen([str(SSHD), "-D", "-e", "-f", config], stdout=log, stderr=log)
        eventually(self._listens, "an sshd that listens")

    def stop(self) -> None:
        """End sshd and its sessions."""
        if self._sshd is None:
            return
        sessions = self.sessions()
        self._sshd.kill()
        self._sshd.wait()
        self._sshd = None
        for session in sessions:
            with suppress(psutil.NoSuchProcess):  # it ends with the one before
                session.kill()

    def sessions(self) -> list[psutil.Process]:
        """Return the processes of sshd that serve a connection."""
        return [] if self._sshd is None else psutil.Process(self._sshd.pid).children(recursive=True)

    def clients(self) -> list[psutil.Process]:
        """Return the ssh processes here."""
        marker = f"{self.directory}/config"
        commands = {process: command_of(process) for process in psutil.process_iter(["name"])}
        return [one for one, command in commands.items() if marker in command and one.info["name"] == "ssh"]

    def log(self) -> str:
        return (self.directory / "sshd.log").read_text()

    def _listens(self) -> bool:
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", self.port)) == 0


@contextmanager
def two_machines() -> Iterator[SshHost]:
    """Yield both; at the end nothing of them is left."""
    with temporary_dmrc() as here, temporary_dmrc() as there:
        directory = Path(tempfile.mkdtemp(prefix="dmrc-ssh-"))
        host = SshHost(here, there, directory, free_port())
        try:
            host.prepare()
            host.start()
            yield host
            here.stop()
        finally:
            host.stop()
            shutil.rmtree(directory, ignore_errors=True)
