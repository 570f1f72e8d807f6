"""Servers out of images, by a real Docker engine: they answer, reach nothing, and are gone when they should be."""

from __future__ import annotations

import http.client
import json
import os
import signal
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest

from tests.dmrc_command import Dmrc
from tests.docker_engine import DockerEngine
from tests.engines.container import server_on_port
from tests.engines.container.conftest import containers
from tests.images import Images
from tests.polling import eventually
from tests.processes import engines_of
from tests.registry import RegistryServer
from tests.tiny_safetensors import write_least_directory

pytestmark = pytest.mark.docker

SERVER = Path(server_on_port.__file__).read_text()


def compose(image: str | None, command: list[str] | None = None, model: str = "local/smollm2") -> str:
    own: dict[str, object] = {"engine": "container", "keep_alive": "1h"}
    own |= {"image": image} if image else {}
    own |= {"command": command} if command else {}
    declared = {"model": model, "context_size": 2048, "x-dmrc": own}
    project = {
        "name": "contained",
        "services": {"app": {"image": "none", "models": ["llm"]}},
        "models": {"llm": declared},
    }
    return json.dumps(project).replace("$", "$$")


def project_key(dmrc: Dmrc, directory: Path, document: str) -> str:
    """Bring a project up whose service is a program of this machine; return its key."""
    (directory / "compose.yaml").write_text(document)
    key: str = json.loads(dmrc.ok("env", "app", "--format", "json", cwd=directory))["OPENAI_API_KEY"]
    return key


@contextmanager
def asked(dmrc: Dmrc, key: str, content: str, **more: object) -> Iterator[http.client.HTTPResponse]:
    connection = http.client.HTTPConnection("127.0.0.1", dmrc.port, timeout=60)
    body = {"model": "llm", "messages": [{"role": "user", "content": content}], **more}
    connection.request("POST", "/v1/chat/completions", json.dumps(body), {"authorization": f"Bearer {key}"})
    yield connection.getresponse()
    connection.close()


def answer(dmrc: Dmrc, key: str, content: str, **more: object) -> str:
    with asked(dmrc, key, content, **more) as response:
        document = json.loads(response.read())
    assert response.status == 200, document
    said: str = document["choices"][0]["message"]["content"]
    return said


def loaded(dmrc: Dmrc, directory: Path, document: str) -> str:
    """Have the model of a project answer; return the key of its service."""
    key = project_key(dmrc, directory, document)
    assert answer(dmrc, key, "Hi", max_tokens=1)
    return key


def daemon_of(dmrc: Dmrc) -> psutil.Process:
    return dmrc.daemon()


def keeper_of(dmrc: Dmrc) -> psutil.Process:
    (keeper,) = engines_of(daemon_of(dmrc), recursive=False)
    return keeper


def left(dmrc: Dmrc) -> list[Path]:
    return list((dmrc.home / "run").glob("runner-*"))


def test_llama_cpps_image_chats_streams_and_is_counted(
    container_dmrc: Dmrc, llama_image: str, docker_engine: DockerEngine, tmp_path: Path
) -> None:
    dmrc = container_dmrc
    key = project_key(dmrc, tmp_path, compose(llama_image))

    said = answer(dmrc, key, "Hi", max_tokens=8, temperature=0)
    with asked(dmrc, key, "Hi", max_tokens=8, temperature=0, stream=True) as response:
        events = [json.loads(line[6:]) for line in response if line.startswith(b"data: {")]

    assert said
    streamed = "".join(event["choices"][0]["delta"].get("content") or "" for event in events if event["choices"])
    assert streamed == said
    (runner,) = json.loads(dmrc.ok("ps", "--json"))
    assert runner["engine"] == "container"
    assert runner["memory_estimated_bytes"] > runner["memory_resident_bytes"] > 50_000_000
    assert runner["prompt_tokens_computed"] > 0
    (container,) = containers(docker_engine, dmrc)
    name = docker_engine.docker("inspect", "--format", "{{.Name}} {{.Config.Image}}", container).strip()
    assert f"-runner-{runner['id']}-" in name
    assert name.endswith(llama_image)
    exchange = json.loads(dmrc.ok("requests", "--json"))[0]
    assert (exchange["engine"], exchange["service"]) == ("container", "app")

    dmrc.ok("down", cwd=tmp_path)

    eventually(lambda: not containers(docker_engine, dmrc) and not left(dmrc), "end of the container")


def test_a_server_on_a_port_reaches_nothing_and_may_nothing(
    container_dmrc: Dmrc, images: Images, docker_engine: DockerEngine, tmp_path: Path
) -> None:
    """One with a network connects to this machine, and to others where the rules of no second engine forbid it."""
    command = ["python3", "-c", SERVER, "{model}", "{port}"]
    key = project_key(container_dmrc, tmp_path, compose(images.python, command))
    serving = "import http.server as h; h.HTTPServer(('', 8099), h.SimpleHTTPRequestHandler).serve_forever()"
    other = docker_engine.docker("run", "--detach", images.python, "python3", "-c", serving).strip()
    address = "{{.NetworkSettings.IPAddress}}"
    with socket.create_server(("0.0.0.0", 0)) as of_host:
        others = docker_engine.docker("inspect", "--format", address, other).strip()
        addresses = [f"{docker_engine.bridge.ip}:{of_host.getsockname()[1]}", f"{others}:8099"]
        look = f"{SERVER.partition('if __name__')[0]}print(looked_at({' '.join(addresses)!r}))"
        reached = docker_engine.docker("run", "--rm", images.python, "python3", "-c", look).strip()
        docker_engine.docker("rm", "--force", other)

        said = answer(container_dmrc, key, f"{' '.join(addresses)} 192.0.2.1:80 id / /model /tmp")

    unreachable = "Network is unreachable"
    assert reached.startswith("connected; ")
    assert unreachable not in reached
    assert said.split("; ") == [
        *[unreachable] * 3,
        f"{os.getuid()} 0000000000000000",
        *["Read-only file system"] * 2,
        "written",
    ]
    container_dmrc.ok("down", cwd=tmp_path)


def test_a_directory_of_safetensors_is_served_by_an_image_that_can(
    container_dmrc: Dmrc, images: Images, tmp_path: Path
) -> None:
    files = write_least_directory(tmp_path / "files")
    container_dmrc.ok("package", "--safetensors-dir", files, "local/safe")
    command = ["python3", "-c", SERVER, "{model}", "{port}"]
    key = project_key(container_dmrc, tmp_path, compose(images.python, command, "local/safe"))

    said = answer(container_dmrc, key, "model")

    assert said == " ".join(sorted(file.name for file in files.iterdir()))
    container_dmrc.ok("down", cwd=tmp_path)


def test_a_container_that_is_killed_in_mid_stream_is_an_error_event_and_the_next_request_works(
    container_dmrc: Dmrc, llama_image: str, docker_engine: DockerEngine, tmp_path: Path
) -> None:
    key = project_key(container_dmrc, tmp_path, compose(llama_image))
    with asked(container_dmrc, key, "Hi", max_tokens=1900, ignore_eos=True, stream=True) as response:
        assert response.readline().startswith(b"data: ")
        docker_engine.docker("kill", "--signal", "KILL", *containers(docker_engine, container_dmrc))
        rest = response.read()

    assert b"[DONE]" not in rest
    last = [line for line in rest.splitlines() if line.startswith(b"data: ")][-1]
    assert "broke off" in json.loads(last[6:])["error"]["message"]
    assert answer(container_dmrc, key, "Hi", max_tokens=2)
    assert len(containers(docker_engine, container_dmrc)) == 1
    container_dmrc.ok("down", cwd=tmp_path)


def test_a_keeper_that_is_killed_leaves_no_container(
    container_dmrc: Dmrc, llama_image: str, docker_engine: DockerEngine, tmp_path: Path
) -> None:
    loaded(container_dmrc, tmp_path, compose(llama_image))

    keeper_of(container_dmrc).kill()

    eventually(lambda: not containers(docker_engine, container_dmrc), "end of the container")
    eventually(lambda: not left(container_dmrc), "end of its directory")
    container_dmrc.ok("down", cwd=tmp_path)


def test_a_daemon_that_is_killed_leaves_no_container(
    own_container_dmrc: Dmrc, llama_image: str, docker_engine: DockerEngine, tmp_path: Path
) -> None:
    loaded(own_container_dmrc, tmp_path, compose(llama_image))
    assert containers(docker_engine, own_container_dmrc)

    daemon_of(own_container_dmrc).kill()

    eventually(lambda: not containers(docker_engine, own_container_dmrc), "end of the container")
    eventually(lambda: not left(own_container_dmrc), "end of its directory")


def test_what_is_left_where_daemon_and_keeper_are_killed_goes_with_the_next_daemon(
    own_container_dmrc: Dmrc, llama_image: str, docker_engine: DockerEngine, tmp_path: Path
) -> None:
    loaded(own_container_dmrc, tmp_path, compose(llama_image))
    keeper, daemon = keeper_of(own_container_dmrc), daemon_of(own_container_dmrc)
    for process in (daemon, keeper):
        process.suspend()  # neither sees the other one's end
    for process in (keeper, daemon):
        process.send_signal(signal.SIGKILL)
    psutil.wait_procs([keeper, daemon], timeout=10)
    assert len(containers(docker_engine, own_container_dmrc)) == 1

    own_container_dmrc.ok("key", "create", "--name", "any")  # starts a daemon

    eventually(lambda: not containers(docker_engine, own_container_dmrc), "end of the container")
    eventually(lambda: not left(own_container_dmrc), "end of its directory")


def failure(dmrc: Dmrc, directory: Path, document: str) -> tuple[str, str]:
    """Return what a command says whose model does not start: the last line, and what stands before it."""
    (directory / "compose.yaml").write_text(document)
    done = dmrc.run("exec", "app", "--", "true", cwd=directory)
    assert done.returncode != 0
    before, _, last = done.stderr.strip().rpartition("\n")
    return last, before


def test_a_server_that_ends_at_once_is_one_sentence_and_the_end_of_its_log(
    container_dmrc: Dmrc, busybox: str, tmp_path: Path
) -> None:
    command = ["sh", "-c", "echo no such thing as {model} >&2; exit 3 # {socket}"]

    last, before = failure(container_dmrc, tmp_path, compose(busybox, command))

    assert "model 'docker.io/local/smollm2:latest' does not start: image busybox:local ended with exit code 3" in last
    assert "no such thing as /model/model.gguf" in before


def test_a_program_that_the_image_does_not_have_is_told_by_dockers_words(
    container_dmrc: Dmrc, images: Images, tmp_path: Path
) -> None:
    last, _ = failure(container_dmrc, tmp_path, compose(images.python, ["no-such-program", "{model}", "{socket}"]))

    assert "does not start: Docker says: " in last
    assert '"no-such-program": executable file not found' in last


def test_an_image_that_cannot_be_had_is_refused_before_anything_starts(
    container_dmrc: Dmrc, docker_engine: DockerEngine, tmp_path: Path
) -> None:
    last, _ = failure(container_dmrc, tmp_path, compose("127.0.0.1:9/no/such:image"))

    assert "image '127.0.0.1:9/no/such:image' is not on this machine and cannot be pulled: " in last
    assert last.endswith("or bring it by docker load")
    assert json.loads(container_dmrc.ok("ps", "--json")) == []


def test_a_port_needs_a_python_in_the_image(container_dmrc: Dmrc, busybox: str, tmp_path: Path) -> None:
    command = ["sh", "-c", "sleep 60 # {model} {port}"]

    last, _ = failure(container_dmrc, tmp_path, compose(busybox, command))

    assert "a port and no unix socket, for which the image must have a python3 that runs" in last


def test_a_docker_engine_that_is_away_is_said(container_dmrc: Dmrc, llama_image: str, tmp_path: Path) -> None:
    (tmp_path / "compose.yaml").write_text(compose(llama_image))

    done = container_dmrc.run(
        "exec", "app", "--", "true", cwd=tmp_path, env={"DOCKER_HOST": f"unix://{tmp_path}/d.sock"}
    )

    assert done.returncode == 6
    assert f"no Docker engine answers at unix://{tmp_path}/d.sock" in done.stderr


def test_a_missing_image_is_pulled_and_the_one_that_fits_is_chosen(
    container_dmrc: Dmrc, llama_image: str, docker_engine: DockerEngine, registry: RegistryServer, tmp_path: Path
) -> None:
    remote = f"{registry.address}/team/server:1"
    docker_engine.docker("tag", llama_image, remote)
    docker_engine.docker("push", remote)
    docker_engine.docker("rmi", remote)

    key = project_key(container_dmrc, tmp_path, compose(remote))
    assert answer(container_dmrc, key, "Hi", max_tokens=2)

    docker_engine.docker("tag", llama_image, "ghcr.io/ggml-org/llama.cpp:server")  # tests run without a card
    key = project_key(container_dmrc, tmp_path, compose(None))
    assert answer(container_dmrc, key, "Hi", max_tokens=2)
    (container,) = containers(docker_engine, container_dmrc)
    name = docker_engine.docker("inspect", "--format", "{{.Config.Image}}", container).strip()
    assert name == "ghcr.io/ggml-org/llama.cpp:server"
    container_dmrc.ok("down", cwd=tmp_path)
