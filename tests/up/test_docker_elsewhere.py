"""Docker on another machine, reached by TCP: its containers come in where the gateway listens for other machines.

The engine is the one of all tests, behind a port of an address that is not loopback's; so nothing here may count on a
bridge of this machine.
"""

from __future__ import annotations

import json
import socket
import socketserver
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import pytest
import yaml

from tests.dmrc_command import Dmrc, temporary_dmrc
from tests.docker_engine import DockerEngine
from tests.engines.certificates import Authority
from tests.images import Images
from tests.polling import eventually
from tests.ports import free_port
from tests.ssh_host import HOST, two_machines
from tests.up.compose_project import STAY, TINY, ComposeProject, service

_LLM = {"llm": {"model": TINY, "context_size": 256, "x-dmrc": {"parallel": 1}}}
_ASK = """
import openai, os
answer = openai.OpenAI(%s).chat.completions.create(
    model=os.environ["LLM_MODEL"], max_tokens=4, messages=[{"role": "user", "content": "Hi"}])
print("tokens", answer.usage.completion_tokens, flush=True)
"""
_BY_PATH = 'base_url=os.environ["LLM_URL"], api_key="none"'


@dataclass(frozen=True)
class Elsewhere:
    """A Docker engine that counts as another machine's, and a dmrc that is told of it."""

    dmrc: Dmrc
    engine: DockerEngine
    authority: Authority
    listening: dict[str, str]
    """What lets its containers in."""
    url: str

    def project(self, directory: Path, name: str, services: dict[str, object], **more: object) -> ComposeProject:
        project = ComposeProject(self.dmrc, self.engine, directory, name)
        project.write({"services": services, "models": _LLM, **more})
        return project


@pytest.fixture
def elsewhere(
    docker_engine: DockerEngine, busybox: str, tiny: Path, needs_engine: None, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Elsewhere]:
    authority = Authority(tmp_path_factory.mktemp("authority"))
    address = str(docker_engine.bridge.ip)
    certificate, key = authority.issue("box", f"IP:{address}")
    with temporary_dmrc() as dmrc, _forwarded(docker_engine, address) as docker_port:
        port = free_port()
        dmrc.environment |= {**docker_engine.environment, "DOCKER_HOST": f"tcp://{address}:{docker_port}"}
        dmrc.ok("package", "--gguf", tiny, TINY)
        listening = {
            "DMRC_LISTEN": f"{address}:{port}",
            "DMRC_TLS_CERT": str(certificate),
            "DMRC_TLS_KEY": str(key),
        }
        yield Elsewhere(dmrc, docker_engine, authority, listening, f"https://{address}:{port}")


@contextmanager
def _forwarded(engine: DockerEngine, address: str) -> Iterator[int]:
    """Yield a port of this address that leads to the engine."""
    path = engine.host.removeprefix("unix://")

    class Connection(socketserver.BaseRequestHandler):
        def handle(self) -> None:
            with socket.socket(socket.AF_UNIX) as there:
                there.connect(path)
                back = threading.Thread(target=_pump, args=(there, self.request), daemon=True)
                back.start()
                _pump(self.request, there)
                back.join()

    with socketserver.ThreadingTCPServer((address, 0), Connection) as server:
        server.daemon_threads = True  # a stream of events has no end
        server.block_on_close = False
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server.server_address[1]
        server.shutdown()


def _pump(source: socket.socket, to: socket.socket) -> None:
    with suppress(OSError):
        while data := source.recv(65536):
            to.sendall(data)
    with suppress(OSError):
        to.shutdown(socket.SHUT_WR)


def test_a_project_runs_there_and_asks_here_by_tls(elsewhere: Elsewhere, images: Images, tmp_path: Path) -> None:
    """A client that checks the certificate is told of the authority by the project: a file of it in the container."""
    elsewhere.dmrc.environment |= elsewhere.listening
    trust = {"environment": {"SSL_CERT_FILE": "/ca.pem"}, "volumes": [f"{elsewhere.authority.certificate}:/ca.pem:ro"]}
    client = {"image": images.python, "command": ["python3", "-c", _ASK % ""], "models": ["llm"], **trust}
    by_path = {**client, "command": ["python3", "-c", _ASK % _BY_PATH], "network_mode": "host"}
    project = elsewhere.project(tmp_path, "far", {"client": client, "path": by_path})

    up = project.up("--detach")

    for name, one in eventually(lambda: project.answers("client", "path"), seconds=60).items():
        assert (name, one["status"], one["completion_tokens"]) == (name, 200, 4)
    override = yaml.safe_load(project.override.read_text().replace("!reset", ""))["services"]
    for name, entry in override.items():
        assert "extra_hosts" not in entry, name
        assert entry["environment"]["NO_PROXY"] == elsewhere.url.rpartition(":")[0].removeprefix("https://")
    assert override["client"]["environment"]["OPENAI_BASE_URL"] == f"{elsewhere.url}/engines/v1"
    assert override["path"]["environment"]["LLM_URL"].startswith(f"{elsewhere.url}/k/sk-dmrc-")
    assert "another machine" not in up.stderr
    eventually(lambda: "tokens 4" in elsewhere.engine.docker("logs", project.containers()["client"].id))

    assert elsewhere.dmrc.registered() == ["far"]
    project.down()
    assert elsewhere.dmrc.registered() == []
    assert not project.containers()


def test_containers_there_that_go_without_us_end_the_project(elsewhere: Elsewhere, tmp_path: Path) -> None:
    elsewhere.dmrc.environment |= elsewhere.listening
    project = elsewhere.project(tmp_path, "gone", {"app": service(STAY, models=["llm"])})
    project.up("--detach")
    eventually(lambda: project.containers() and elsewhere.dmrc.registered() == ["gone"])

    elsewhere.engine.docker("rm", "--force", project.containers()["app"].id)

    eventually(lambda: elsewhere.dmrc.registered() == [], "end of the project")


def test_without_a_listener_the_refusal_names_the_way_and_nothing_starts(elsewhere: Elsewhere, tmp_path: Path) -> None:
    project = elsewhere.project(tmp_path, "refused", {"app": service(STAY, models=["llm"])})

    up = project.up("--detach", code=6)

    (line,) = up.stderr.strip().splitlines()
    assert "DOCKER_HOST is on another machine (tcp://" in line
    assert "DMRC_LISTEN=ADDRESS with DMRC_TLS_CERT and DMRC_TLS_KEY" in line
    assert elsewhere.dmrc.processes() == []
    assert not project.containers()
    loopback = {"DMRC_LISTEN": "127.0.0.1:" + elsewhere.url.rpartition(":")[2]}
    done = elsewhere.dmrc.run("up", "--detach", cwd=tmp_path, env=loopback)
    assert done.returncode == 6
    assert "It listens at 127.0.0.1 only" in done.stderr


def test_a_daemon_that_runs_already_and_does_not_listen_is_told_of(elsewhere: Elsewhere, tmp_path: Path) -> None:
    elsewhere.dmrc.ok("key", "create", "--name", "a")
    project = elsewhere.project(tmp_path, "late", {"app": service(STAY, models=["llm"])})

    done = elsewhere.dmrc.run("up", "--detach", cwd=tmp_path, env=elsewhere.listening)

    assert done.returncode == 6
    assert "dmrc stop-runner" in done.stderr
    assert not project.containers()


def test_containers_there_are_not_known_by_address(elsewhere: Elsewhere, tmp_path: Path) -> None:
    elsewhere.dmrc.environment |= elsewhere.listening
    project = elsewhere.project(tmp_path, "known", {"app": service(STAY)}, **{"x-dmrc": {"auth": "address"}})

    up = project.up("--detach", code=2)

    assert "x-dmrc: {auth: address} knows containers of this machine, and Docker is on another one" in up.stderr


def test_commands_say_where_containers_there_come_in(elsewhere: Elsewhere, tmp_path: Path) -> None:
    elsewhere.dmrc.environment |= elsewhere.listening
    elsewhere.project(tmp_path, "shown", {"app": service(STAY, models=["llm"])})

    config = elsewhere.dmrc.ok("config", cwd=tmp_path)
    assert f"OPENAI_BASE_URL={elsewhere.url}/engines/v1" in config
    assert "extra_hosts" not in config
    everywhere = {"DMRC_LISTEN": "0.0.0.0:" + elsewhere.url.rpartition(":")[2]}
    assert f"OPENAI_BASE_URL={elsewhere.url}/" in elsewhere.dmrc.ok("config", cwd=tmp_path, env=everywhere)
    found = {check["name"]: check for check in json.loads(elsewhere.dmrc.run("doctor", "--json").stdout)}
    assert (found["docker"]["state"], found["bridge"]["state"]) == ("ok", "ok")
    assert elsewhere.url in found["bridge"]["message"]
    elsewhere.dmrc.ok("key", "create", "--name", "a")
    assert json.loads(elsewhere.dmrc.ok("status", "--json"))["endpoint"] == f"{elsewhere.url}/engines/v1/"


def test_an_engine_by_ssh_is_asked_by_the_persons_own_ssh(
    elsewhere: Elsewhere, needs_ssh: None, tmp_path: Path
) -> None:
    """In the foreground, too: while Compose runs, `docker ps` tells when it has made the containers."""
    elsewhere.dmrc.environment |= elsewhere.listening
    with two_machines() as machines:
        machines.stop()
        there = f"env DOCKER_HOST={elsewhere.engine.host}"
        machines.settings.append(f'ForceCommand {there} sh -c "$SSH_ORIGINAL_COMMAND"')
        machines.start()
        elsewhere.dmrc.environment |= {"DOCKER_HOST": HOST, "PATH": machines.here.environment["PATH"]}
        project = elsewhere.project(tmp_path / "project", "sshed", {"app": service(STAY, models=["llm"])})

        with subprocess.Popen(
            [elsewhere.dmrc.program, "up"],
            cwd=project.directory,
            env=elsewhere.dmrc.environment,
            stdout=subprocess.DEVNULL,
        ) as up:
            eventually(lambda: project.containers() and project.is_running("app"), "container", seconds=90)
            variables = elsewhere.engine.docker("exec", project.containers()["app"].id, "/busybox", "env")
            project.down()

            assert up.wait(60) == 0
        assert f"OPENAI_BASE_URL={elsewhere.url}/engines/v1" in variables
        assert not project.containers()
