"""A machine that cannot be used: one line says which, why, and what to do."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from dmrc import __version__
from dmrc.engines.ssh.host import Host
from dmrc.errors import UpstreamError
from tests.engines.ssh.hosted_project import HostedProject, package_there
from tests.polling import eventually
from tests.ssh_host import SshHost, two_machines


@pytest.fixture
def broken(needs_ssh: None, needs_engine: None) -> Iterator[SshHost]:
    """Two machines that no other test uses."""
    with two_machines() as host:
        yield host


def no_ssh(box: SshHost) -> None:
    (box.directory / "bin" / "ssh").unlink()
    box.here.environment["PATH"] = str(box.directory / "bin")


def unknown(box: SshHost) -> None:
    config = box.directory / "config"
    config.write_text(config.read_text().replace("127.0.0.1", "no-such-host.invalid", 1))


def unknown_key(box: SshHost) -> None:
    box.know_host(known=False)


def refused_key(box: SshHost) -> None:
    box.use_key("strangers_key")


def off(box: SshHost) -> None:
    box.stop()


def no_dmrc(box: SshHost) -> None:
    box.here.environment["DMRC_REMOTE_COMMAND"] = "no-such-dmrc"


def another_version(box: SshHost) -> None:
    play_dmrc(box, "0.0.1")


def play_dmrc(box: SshHost, version: str) -> None:
    """Have a program there say that it is a dmrc, after what a login prints."""
    other = box.directory / "other-dmrc"
    hello = 'dmrc-hosting {"version": "' + version + '"}'
    other.write_text(f"#!/bin/sh\necho 'Welcome!'\necho '{hello}'\ncat >/dev/null\n")
    other.chmod(0o755)
    box.here.environment["DMRC_REMOTE_COMMAND"] = str(other)


def no_forwarding(box: SshHost) -> None:
    play_dmrc(box, __version__)
    box.stop()
    box.settings.append("AllowStreamLocalForwarding no")
    box.start()


CASES: list[tuple[Callable[[SshHost], None], str, str]] = [
    (no_ssh, "'ssh' cannot be run", "Install OpenSSH's client"),
    (unknown, "Could not resolve hostname", "Check the name"),
    (unknown_key, "No ED25519 host key is known", "Connect by hand once, and look at its key: ssh box"),
    (refused_key, "Permission denied (publickey)", "It takes none of your keys"),
    (off, "Connection refused", "does ssh box work?"),
    (no_dmrc, "has no dmrc on the PATH of a login", "DMRC_REMOTE_COMMAND=/path/to/dmrc"),
    (another_version, "has dmrc 0.0.1, and this is dmrc", "Install the same version on both"),
    (no_forwarding, "lets ssh forward no socket", "AllowStreamLocalForwarding yes"),
]


@pytest.mark.parametrize(("break_it", "why", "remedy"), CASES, ids=[case[0].__name__ for case in CASES])
def test_a_host_that_cannot_be_used_is_refused_in_one_line(
    broken: SshHost, break_it: Callable[[SshHost], None], why: str, remedy: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    break_it(broken)
    monkeypatch.setenv("PATH", broken.here.environment["PATH"])
    (broken.here.home / "run").mkdir()

    async def join() -> str:
        host = Host("ssh://box", broken.here.home / "run")
        host.remote_command = broken.here.environment["DMRC_REMOTE_COMMAND"]
        try:
            with pytest.raises(UpstreamError) as refused:
                await host.link()
            return str(refused.value)
        finally:
            await host.close()

    said = asyncio.run(join())

    assert len(said.splitlines()) == 1, said
    assert "ssh://box" in said
    assert why in said
    assert remedy in said
    assert not broken.clients()
    assert not list((broken.here.home / "run").iterdir())


def test_a_command_that_cannot_reach_the_host_leaves_nothing_behind(broken: SshHost) -> None:
    refused_key(broken)
    project = HostedProject(broken)

    said = project.refused()

    assert len(said.splitlines()) == 1, said
    assert "Permission denied" in said
    eventually(lambda: not broken.here.processes() and not broken.clients(), "end of all that was started here")


def test_a_model_that_is_not_to_be_had_there_is_refused_with_the_name_of_the_host(
    hosted: Callable[..., HostedProject],
) -> None:
    said = hosted(model="file:///no/such/model.gguf").refused()

    assert "host 'ssh://box': " in said
    assert "/no/such/model.gguf" in said


def test_a_host_that_goes_away_is_named_to_each_caller_and_comes_back(broken: SshHost, tmp_path: Path) -> None:
    package_there(broken, tmp_path)
    project = HostedProject(broken)
    project.ready()

    broken.stop()
    refused = project.ask()
    text = refused.read().decode()

    assert refused.status == 502
    assert "ssh://box" in text
    broken.start()
    eventually(lambda: project.ask().status == 200, "answer again", seconds=60)
    eventually(lambda: [one["status"] for one in project.requests()].count(200) == 1, "record of the answer")
