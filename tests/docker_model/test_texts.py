"""Texts of `docker model`, in Docker Model Runner's shapes: cmd/cli/commands at docker/model-runner 642c7211."""

from __future__ import annotations

import platform
import re
from pathlib import Path

import pytest

from dmrc import __version__
from tests.dmrc_command import Dmrc
from tests.registry import RegistryServer

TABLE = re.compile(r" {2,}")


def rows(text: str) -> list[list[str]]:
    """Return the cells of a table."""
    return [TABLE.split(line.strip()) for line in text.splitlines()]


def matches(golden: str, text: str) -> bool:
    """Return whether a text is the golden one, where `{…}` stands for any words of one line."""
    parts = re.split(r"\{[^}]*\}", golden)
    return re.fullmatch("[^\n]+".join(map(re.escape, parts)), text) is not None


def test_without_a_daemon(docker_model: Dmrc) -> None:
    status, version = docker_model.run("status"), docker_model.ok("version")
    listed, unloaded = docker_model.ok("ps"), docker_model.ok("unload", "--all")

    assert (status.returncode, status.stdout.splitlines()[:2]) == (1, ["Docker Model Runner is not running", ""])
    machine = "linux/" + {"x86_64": "amd64", "aarch64": "arm64"}.get(platform.machine(), platform.machine())
    assert version == (
        f"Client:\n Version:    {__version__}\n OS/Arch:    {machine}\n\n"
        "Server:\n Version:    (not reachable)\n Engine:     Docker Engine\n"
    )
    assert rows(listed) == [["MODEL NAME", "BACKEND", "MODE", "UNTIL"]]
    assert unloaded == "No models are running.\n"


@pytest.mark.engine
def test_with_a_model_that_runs(docker_model: Dmrc, gguf: Path) -> None:
    docker_model.ok("package", "--gguf", gguf, "ai/tiny")
    docker_model.ok("run", "--detach", "ai/tiny")

    status, version, listed = (docker_model.ok(name) for name in ("status", "version", "ps"))
    docker_model.ok("configure", "--keep-alive", "-1", "ai/tiny")
    docker_model.ok("run", "--detach", "ai/tiny")
    pinned = docker_model.ok("ps")
    unloaded, again = docker_model.ok("unload", "ai/tiny"), docker_model.run("unload", "ai/tiny")

    first, blank, *table = status.splitlines()
    assert (first, blank) == ("Docker Model Runner is running", "")
    assert rows("\n".join(table))[0] == ["BACKEND", "STATUS", "DETAILS"]
    assert ["llama.cpp", "Running"] in [row[:2] for row in rows("\n".join(table))]
    assert f"Server:\n Version:    {__version__}\n" in version
    assert matches("4 minutes from now", rows(listed)[1].pop())
    assert rows(listed)[1][:3] == ["tiny", "llama.cpp", "completion"]
    assert rows(pinned)[1] == ["tiny", "llama.cpp", "completion", "Forever"]
    assert unloaded == "Unloaded 1 model(s).\n"
    assert (again.returncode, again.stdout) == (0, "No such model(s) running.\n")


def test_the_life_of_a_model_in_the_store(docker_model: Dmrc, gguf: Path, registry: RegistryServer) -> None:
    name = f"{registry.address}/me/tiny:v1"
    docker_model.ok("package", "--gguf", gguf, "ai/tiny")

    said = [
        docker_model.ok("tag", "ai/tiny", name),
        docker_model.ok("push", name),
        docker_model.ok("rm", "ai/tiny"),
        docker_model.ok("rm", name),
        docker_model.ok("pull", name),
        docker_model.ok("pull", name),
    ]

    golden = [
        f'Model "ai/tiny" tagged successfully with "{name}"\n',
        "Model pushed successfully\n",
        "Untagged: docker.io/ai/tiny:latest\n",
        f"Untagged: {name}\nDeleted: sha256:{{digest}}\n",
        "Model pulled successfully\n",
        "Using cached model: {size}\n",
    ]
    assert [matches(*pair) for pair in zip(golden, said, strict=True)] == [True] * len(golden), said


def test_list_show_and_df(docker_model: Dmrc, gguf: Path) -> None:
    docker_model.ok("package", "--gguf", gguf, "--context-size", "256", "ai/tiny")

    listed, shown, used = docker_model.ok("ls"), docker_model.ok("show", "ai/tiny"), docker_model.ok("df")

    headers = ["MODEL NAME", "PARAMETERS", "QUANTIZATION", "ARCHITECTURE", "MODEL ID", "CREATED", "CONTEXT", "SIZE"]
    assert [rows(listed)[0], rows(listed)[1][0]] == [headers, "tiny"]
    golden = (
        "Model:       sha256:{digest}\nTags:        docker.io/ai/tiny:latest\nCreated:     {time}\n\n"
        "Format:       gguf\nArchitecture: llama\nParameters:   {count}\nSize:         {size}\n"
        "Quantization: {kind}\nContext Size: 256\n\nGGUF Metadata:\n"
    )
    head, title, metadata = shown.partition("GGUF Metadata:\n")
    assert matches(golden, head + title), shown
    assert all(line.startswith("  ") and ": " in line for line in metadata.splitlines())
    assert [row[0] for row in rows(used)[:3]] == ["TYPE", "Models", "Inference engine"]


@pytest.mark.parametrize("command", ["pull", "rm", "inspect", "logs", "package", "configure"])
def test_help_names_the_commands_that_are_here(docker_model: Dmrc, command: str) -> None:
    shown = docker_model.ok(command, "--help")

    assert "Example: docker model " in " ".join(shown.split())
    assert f"dmrc {command}" not in shown


def test_an_error_names_the_command_that_is_here(docker_model: Dmrc) -> None:
    missing = docker_model.run("show", "ai/none")

    assert (missing.returncode, missing.stdout) == (3, "")
    assert missing.stderr.endswith("Run: docker model pull ai/none\n")
