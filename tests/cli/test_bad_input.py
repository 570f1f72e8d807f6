"""Models, engines, the port, the state directory and settings, when they are not as they should be."""

import os
import re
import socket
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from tests.cli.refusals import (
    assert_left_nothing,
    assert_refused,
    interrupt,
    without_root_rights,
    write_program,
    write_project,
)
from tests.dmrc_command import Dmrc
from tests.ports import free_port
from tests.registry import RegistryServer
from tests.tiny_gguf import write_tiny_llama

_EXEC = ("exec", "web", "--", "true")
"""Prepares the project as `dmrc up` does, and needs no Docker."""


@pytest.fixture
def tiny(dmrc: Dmrc, tmp_path: Path) -> str:
    """The name of a tiny model in the store."""
    dmrc.ok("package", "--gguf", write_tiny_llama(tmp_path / "tiny.gguf"), "me/tiny")
    return "me/tiny"


@pytest.mark.parametrize("command", ["pull", "run", "exec"])
def test_a_model_that_no_registry_has(dmrc: Dmrc, tmp_path: Path, registry: RegistryServer, command: str) -> None:
    name = f"{registry.address}/me/nothing:v1"
    arguments = {"pull": ["pull", name], "run": ["run", name, "Hi"], "exec": _EXEC}[command]

    done = dmrc.run(*arguments, cwd=write_project(tmp_path / "shop", name))

    assert_refused(done, 3, f"model '{name}' is not in the registry '{registry.address}'", "Check its name")
    assert_left_nothing(dmrc)


def test_a_model_that_no_registry_has_and_the_store_has_under_a_near_name(
    dmrc: Dmrc, tmp_path: Path, registry: RegistryServer
) -> None:
    gguf = write_tiny_llama(tmp_path / "tiny.gguf")
    dmrc.environment |= {"DEFAULT_REGISTRY": registry.address, "INSECURE_REGISTRY": "true"}
    dmrc.ok("package", "--gguf", gguf, "ai/smollm2:q4")

    for command in (["run", "ai/smolm2", "Hi"], ["pull", "ai/smollm2:q5"], ["bench", "ai/smolm2"]):
        assert_refused(dmrc.run(*command), 3, "is not in the registry", "(did you mean '", "ai/smollm2:q4'?)")


def test_a_registry_that_wants_a_login(dmrc: Dmrc, registry_with_login: RegistryServer) -> None:
    address = registry_with_login.address

    done = dmrc.run("pull", f"{address}/me/tiny")

    assert_refused(done, 4, f"registry '{address}' wants a login", f"Run: docker login {address}")
    assert_left_nothing(dmrc)


@pytest.mark.parametrize("command", ["pull", "exec"])
def test_a_registry_that_is_down_is_given_up_within_seconds(dmrc: Dmrc, tmp_path: Path, command: str) -> None:
    address = f"127.0.0.1:{free_port()}"
    arguments = ["pull", f"{address}/me/tiny"] if command == "pull" else _EXEC
    project = write_project(tmp_path / "shop", f"{address}/me/tiny")
    began = time.monotonic()

    done = dmrc.run(*arguments, cwd=project)

    assert_refused(done, 4, f"registry '{address}' cannot be reached", "refused", "Check the network and the registry")
    assert time.monotonic() - began < 30
    assert_left_nothing(dmrc)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"hello, I am no model", ("is not a GGUF file", "begins with b'hell'")),
        (b"GGUF", ("model.gguf",)),
        (b"", ("model.gguf",)),
        (None, ("cannot be read: No such file or directory",)),
    ],
    ids=["other", "cut off", "empty", "missing"],
)
def test_a_gguf_that_is_none(dmrc: Dmrc, tmp_path: Path, content: bytes | None, words: tuple[str, ...]) -> None:
    path = tmp_path / "model.gguf"
    if content is not None:
        path.write_bytes(content)

    done = dmrc.run("package", "--gguf", path, "me/model")

    assert_refused(done, 2, str(path), *words)
    assert dmrc.ok("list", "-q") == ""
    assert_left_nothing(dmrc)


def test_a_registry_whose_model_is_no_gguf(dmrc: Dmrc, tmp_path: Path, registry: RegistryServer) -> None:
    registry.push_model("me/fake", b"hello, I am no model")
    name = f"{registry.address}/me/fake"

    done = dmrc.run(*_EXEC, cwd=write_project(tmp_path / "shop", name))

    assert_refused(done, 2, "is not a GGUF file")
    assert_left_nothing(dmrc)


@pytest.mark.engine
@pytest.mark.parametrize("command", ["run", "exec"])
def test_an_architecture_that_the_engine_does_not_know(dmrc: Dmrc, tmp_path: Path, command: str) -> None:
    gguf = write_tiny_llama(tmp_path / "alien.gguf", architecture="martian")
    dmrc.ok("package", "--gguf", gguf, "me/alien")
    arguments = {"run": ["run", "me/alien", "Hi"], "exec": _EXEC}[command]

    done = dmrc.run(*arguments, cwd=write_project(tmp_path / "shop", "me/alien"))

    assert_refused(
        done, 5, "me/alien", "does not know the architecture 'martian'", "Use a newer engine", str(dmrc.home / "logs")
    )
    assert_left_nothing(dmrc)


def test_a_context_that_does_not_fit(dmrc: Dmrc, tmp_path: Path) -> None:
    gguf = write_tiny_llama(tmp_path / "wide.gguf", context_length=9999999)  # it would be cut to what is trained
    dmrc.ok("package", "--gguf", gguf, "me/wide")
    project = write_project(tmp_path / "shop", "me/wide", "context_size: 9999999")

    done = dmrc.run(*_EXEC, cwd=project, env={"DMRC_MEMORY": "100MiB"})

    assert_refused(done, 5, "me/wide", "context_size 9999999", "104.86 MB is free")
    # Of 512 tokens at a time, llama.cpp holds for each which of the others it sees.
    assert "needs 12.84 GB (weights 283.39 kB, context 2.56 GB, buffers 10.28 GB)" in done.stderr
    assert re.search(r"A context_size of [1-9]\d{4,5} would fit", done.stderr)
    assert_left_nothing(dmrc)


def test_a_model_that_does_not_fit_at_all(dmrc: Dmrc, tiny: str) -> None:
    done = dmrc.run("run", tiny, "Hi", env={"DMRC_MEMORY": "1MB"})

    assert_refused(done, 5, tiny, "is free", "Choose a smaller model or quantisation")
    assert_left_nothing(dmrc)


@pytest.mark.engine
def test_ctrl_c_while_a_model_is_loaded(dmrc: Dmrc, tmp_path: Path, tiny: str) -> None:
    """The engine here loads for ever."""
    begun = tmp_path / "begun"
    write_program(tmp_path / "bin", "llama-server", f"touch {begun}; exec sleep 600")
    dmrc.environment["DMRC_LLAMA_SERVER"] = str(tmp_path / "bin" / "llama-server")

    code, stderr = interrupt(dmrc, _EXEC, write_project(tmp_path / "shop", tiny), begun.exists)

    assert (code, stderr.splitlines()[-1]) == (130, "dmrc: interrupted")
    assert_left_nothing(dmrc)


@pytest.fixture
def stranger(dmrc: Dmrc) -> Iterator[socket.socket]:
    """Another program that listens on dmrc's port: this one."""
    with closing(socket.create_server(("127.0.0.1", dmrc.port))) as listener:
        yield listener


@pytest.mark.parametrize("command", ["run", "exec", "serve"])
def test_a_port_that_another_program_has(
    dmrc: Dmrc, tmp_path: Path, tiny: str, stranger: socket.socket, command: str
) -> None:
    arguments = {"run": ["run", tiny, "Hi"], "exec": _EXEC, "serve": ["serve"]}[command]

    done = dmrc.run(*arguments, cwd=write_project(tmp_path / "shop", tiny))

    assert_refused(done, 1, f"port {dmrc.port} on 127.0.0.1 is taken", f"(process {os.getpid()})", "DMRC_PORT=")
    assert_left_nothing(dmrc)


def test_a_port_that_needs_rights(dmrc: Dmrc, tmp_path: Path) -> None:
    if os.geteuid() == 0:
        rights = "--bounding-set=-net_bind_service"
        dmrc.program = write_program(tmp_path, "dmrc", f'exec setpriv {rights} "{dmrc.program}" "$@"') / "dmrc"

    done = dmrc.run("serve", env={"DMRC_PORT": "80"})

    assert_refused(done, 1, "port 80 on 127.0.0.1 cannot be used: Permission denied", "DMRC_PORT=")
    assert_left_nothing(dmrc)


@pytest.mark.parametrize("command", [["list"], ["run", "me/tiny", "Hi"], ["serve"], ["pull", "me/tiny"]], ids="-".join)
@pytest.mark.parametrize("why", ["permission denied", "Not a directory"])
def test_a_state_directory_that_cannot_be_written(dmrc: Dmrc, tmp_path: Path, command: list[str], why: str) -> None:
    without_root_rights(dmrc, tmp_path / "bin")
    locked = tmp_path / "state"
    if why == "permission denied":
        locked.mkdir(mode=0o500)
    else:
        locked.write_text("a file")
    home = locked / "home"

    done = dmrc.run(*command, env={"DMRC_HOME": str(home)})

    assert_refused(done, 1, f"state directory '{home}' cannot be written", "set DMRC_HOME to another directory")
    assert why.lower() in done.stderr.lower()
    assert_left_nothing(dmrc)


@pytest.mark.parametrize(
    ("name", "value", "remedy"),
    [
        ("DMRC_PORT", "80000", "Use 1 to 65535"),
        ("DMRC_PORT", "http", "Use 1 to 65535"),
        ("DMRC_REQUIRE_KEY", "maybe", "Use DMRC_REQUIRE_KEY=1 or DMRC_REQUIRE_KEY=0"),
        ("DMRC_CAPTURE", "everything", "Use full, metadata or off"),
        ("DMRC_LOG_FORMAT", "xml", "Use text or json"),
        ("DMRC_MEMORY", "much", "Write it as DMRC_MEMORY=6GiB"),
        ("DMRC_STREAM_PROCESSES", "all", "Use 0 to 64"),
        ("INSECURE_REGISTRY", "perhaps", "Use INSECURE_REGISTRY=1"),
    ],
)
@pytest.mark.parametrize("command", [["list"], ["status"], ["serve"]], ids="-".join)
def test_a_setting_that_means_nothing(dmrc: Dmrc, name: str, value: str, remedy: str, command: list[str]) -> None:
    done = dmrc.run(*command, env={name: value})

    assert_refused(done, 2, f"{name} must be ", f", not '{value}'", remedy)
    assert_left_nothing(dmrc)


@pytest.mark.parametrize("command", [["version"], ["serve"], _EXEC], ids=lambda words: words[0])
def test_an_engine_that_is_no_program(dmrc: Dmrc, tmp_path: Path, command: list[str]) -> None:
    project = write_project(tmp_path / "shop", "ai/none")

    done = dmrc.run(*command, cwd=project, env={"DMRC_LLAMA_SERVER": "/no/llama-server"})

    assert_refused(
        done, 2, "DMRC_LLAMA_SERVER must be the path of a program, not '/no/llama-server'", "unset it to use xllamacpp"
    )
    assert_left_nothing(dmrc)


def test_a_default_registry_that_is_none(dmrc: Dmrc) -> None:
    done = dmrc.run("pull", "me/tiny", env={"DEFAULT_REGISTRY": "http://my registry/"})

    assert_refused(
        done,
        2,
        "DEFAULT_REGISTRY must be a registry, not 'http://my registry/'",
        "DEFAULT_REGISTRY=registry.example.com",
    )
    assert_left_nothing(dmrc)
