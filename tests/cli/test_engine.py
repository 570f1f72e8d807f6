"""`dmrc engine`: the builds of llama.cpp."""

from __future__ import annotations

import json
import signal
import subprocess
from pathlib import Path

import psutil
import pytest

from tests.cli.test_completion import complete
from tests.dmrc_command import Dmrc
from tests.installing import fakes
from tests.installing.wheel_index import put, serving
from tests.polling import eventually
from tests.processes import command_of
from tests.vulkan import VulkanServer


def _script(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)
    return path


@pytest.mark.engine
def test_each_build_is_listed_with_its_devices_and_one_that_dies_with_that(dmrc: Dmrc, tmp_path: Path) -> None:
    listed = "echo 'Available devices:'; echo '  CUDA0: NVIDIA Q1 (24080 MiB, 23604 MiB free)'"
    listed += "; echo '  CUDA1: NVIDIA Q1 (24080 MiB, 10 MiB free)'"
    seeing = _script(tmp_path / "seeing", f'[ $1 = --version ] && echo "version: 7 (abc)" || {{ {listed}; }}')
    dying = _script(tmp_path / "dying", "kill -ILL $$")

    table = dmrc.ok("engine", "list", env={"DMRC_LLAMA_SERVER": str(seeing)}).splitlines()
    first, second = json.loads(dmrc.ok("engine", "list", "--json", env={"DMRC_LLAMA_SERVER": str(seeing)}))
    died = dmrc.ok("engine", "list", env={"DMRC_LLAMA_SERVER": str(dying)}).splitlines()

    assert table[0].split() == ["NAME", "VERSION", "DEVICE", "MEMORY", "FREE"]
    assert " ".join(table[1].split()) == "llama-server * 7 (abc) CUDA0: NVIDIA Q1 25.25 GB 24.75 GB"
    assert table[2].split() == ["CUDA1:", "NVIDIA", "Q1", "25.25", "GB", "10.49", "MB"]
    assert table[3].startswith("xllamacpp ") and "none; the processor" in table[3]
    assert (first["name"], first["in_use"], first["kind"], first["version"], first["path"]) == (
        "llama-server",
        True,
        "llama-server",
        "7 (abc)",
        str(seeing),
    )
    assert first["devices"][1] == {
        "name": "CUDA1",
        "description": "NVIDIA Q1",
        "total_bytes": 24080 << 20,
        "free_bytes": 10 << 20,
        "shares_ram": False,
        "maps_weights": False,
    }
    assert (second["name"], second["in_use"], second["failure"], second["devices"]) == ("xllamacpp", False, None, [])
    assert second["size_bytes"] > 10_000_000
    assert "died: it was built for another processor" in died[1]
    assert dmrc.processes() == []


def _runners(dmrc: Dmrc) -> list[str]:
    """Return the command lines of the children that serve models."""
    lines = [command_of(process) for process in dmrc.processes()]
    return [line for line in lines if "xllamacpp_child" in line or "--model" in line]


@pytest.mark.engine
def test_the_next_model_is_served_by_the_build_that_was_installed_and_the_daemon_goes_on(
    dmrc: Dmrc, tiny: str, wheel: Path
) -> None:
    dmrc.ok("run", tiny, "Hi")
    (before,), started = _runners(dmrc), json.loads(dmrc.ok("status", "--json"))["pid"]

    installed = dmrc.run("engine", "install", "--from", wheel, "--name", "mine")
    (still,) = _runners(dmrc)
    dmrc.ok("unload", "--all")
    dmrc.ok("run", tiny, "Hi")
    (after,) = _runners(dmrc)
    used = dmrc.run("engine", "use", "xllamacpp")
    dmrc.ok("unload", "--all")
    dmrc.ok("run", tiny, "Hi")
    (back,) = _runners(dmrc)

    assert installed.returncode == 0, installed.stderr
    assert (
        installed.stderr.startswith("build 'mine' (version 20") and "it answers, on the processor" in installed.stderr
    )
    assert "To load them anew: dmrc unload --all" in installed.stderr
    assert still == before and '"site": null' in before
    assert f'"site": "{dmrc.home}/engines/mine"' in after
    assert '"site": null' in back and used.returncode == 0
    assert json.loads(dmrc.ok("status", "--json"))["pid"] == started


@pytest.mark.engine
def test_builds_are_used_removed_and_completed_by_name(dmrc: Dmrc, wheel: Path) -> None:
    dmrc.ok("engine", "install", "--from", wheel)
    name = "-".join(wheel.name.split("-")[:2])

    (own, mine) = json.loads(dmrc.ok("engine", "list", "--json"))
    kept = dmrc.run("engine", "remove", name)
    offered = complete(dmrc, "dmrc engine use xll"), complete(dmrc, "dmrc engine remove ")
    forced = dmrc.run("engine", "remove", "--force", name)
    unknown = dmrc.run("engine", "use", name)

    assert (own["name"], own["in_use"]) == ("xllamacpp", False)
    assert (mine["name"], mine["in_use"], mine["source"]) == (name, True, str(wheel))
    assert (kept.returncode, kept.stdout) == (1, "")
    assert kept.stderr == f"dmrc: build '{name}' is in use. Run: dmrc engine use xllamacpp, or add --force\n"
    assert offered == (["xllamacpp", name], [name])
    assert forced.stderr.startswith(f"build '{name}' is removed. In use is xllamacpp 20")
    assert (unknown.returncode, unknown.stderr.startswith(f"dmrc: there is no build '{name}'")) == (3, True)


@pytest.mark.engine
@pytest.mark.parametrize("serving", [fakes.CRASHES, fakes.EXITS, fakes.HANGS], ids=["crashes", "exits", "hangs"])
def test_a_build_that_does_not_work_costs_one_line(dmrc: Dmrc, tmp_path: Path, serving: str) -> None:
    program = fakes.server(tmp_path / "given" / "llama-server", serving)

    done = dmrc.run("engine", "install", "--from", program, "--timeout", "2")

    assert done.returncode == 5
    (line,) = done.stderr.splitlines()
    assert line.startswith("dmrc: build 'given' does not work here: it ")
    assert ". In use stays xllamacpp 20" in line
    assert [path.name for path in (dmrc.home / "engines").iterdir()] == [".lock"]
    assert dmrc.processes() == []


@pytest.mark.engine
def test_a_setting_goes_before_what_is_used_and_that_is_said(dmrc: Dmrc, tmp_path: Path) -> None:
    program = fakes.server(tmp_path / "mine", fakes.EXITS)

    done = dmrc.run("engine", "use", "xllamacpp", env={"DMRC_LLAMA_SERVER": str(program)})

    assert done.returncode == 0
    assert f"Warning: DMRC_LLAMA_SERVER is set, and goes before it: {program}" in done.stderr


def test_a_sha256_that_is_none_is_refused(dmrc: Dmrc, tmp_path: Path) -> None:
    done = dmrc.run("engine", "install", "--from", tmp_path, "--sha256", "abc")

    assert (done.returncode, done.stderr) == (2, "dmrc: --sha256 must be 64 hexadecimal digits, not 'abc'\n")


@pytest.mark.engine
def test_a_build_is_fetched_from_an_index_or_from_a_mirror_by_setting(dmrc: Dmrc, wheel: Path, tmp_path: Path) -> None:
    put(tmp_path / "vulkan", wheel)
    with serving(tmp_path) as url:
        fetched = dmrc.run("engine", "install", "cpu", "--index-url", f"{url}/vulkan")
        seeing_none = dmrc.run("engine", "install", "vulkan", env={"DMRC_ENGINE_INDEX": url})
        unknown = dmrc.run("engine", "install", "vulkan", "--index-url", f"{url}/nowhere")
    builds = {build["name"]: build for build in json.loads(dmrc.ok("engine", "list", "--json"))}
    back = dmrc.run("engine", "install", "cpu")

    assert fetched.returncode == 0, fetched.stderr
    assert fetched.stderr.splitlines()[0] == f"it was asked for. Fetching {wheel.name} from {url}/vulkan"
    assert (builds["cpu"]["in_use"], builds["cpu"]["source"]) == (True, f"{url}/vulkan/xllamacpp/{wheel.name}")
    assert seeing_none.returncode == 5 and "build 'vulkan' sees no graphics card here" in seeing_none.stderr
    assert unknown.returncode == 5 and "there is nothing at" in unknown.stderr and "--from" in unknown.stderr
    assert set(builds) == {"xllamacpp", "cpu"}
    assert "build 'xllamacpp' (version" in back.stderr


def test_a_place_and_a_kind_are_one_too_many(dmrc: Dmrc, tmp_path: Path) -> None:
    done = dmrc.run("engine", "install", "cuda", "--from", tmp_path)

    assert done.returncode == 2
    assert "leave out the kind and --index-url" in done.stderr


def test_a_build_for_other_processors_is_used_where_it_runs_and_costs_a_line_where_it_dies(
    dmrc: Dmrc, skulk_wheel: Path, vulkan_server: VulkanServer
) -> None:
    """Which of both happens is up to the processor of this machine."""
    done = dmrc.run("engine", "install", "--from", skulk_wheel, "--name", "skulk", env=vulkan_server.environment)
    listed = dmrc.ok("engine", "list", "--json", env=vulkan_server.environment)
    (used,) = [build for build in json.loads(listed) if build["in_use"]]

    if done.returncode == 0:
        assert (used["name"], [device["name"] for device in used["devices"]]) == ("skulk", ["Vulkan0"])
        assert "is in use: it answers, on Vulkan0 (llvmpipe" in done.stderr
    else:
        assert used["name"] in ("llama-server", "xllamacpp")
        assert done.returncode == 5
        assert done.stderr.splitlines()[-1].startswith("dmrc: build 'skulk' does not work here: it ")
        assert not (dmrc.home / "engines" / "skulk").exists()
    assert dmrc.processes() == []


def test_a_model_is_computed_on_the_card_by_a_build_that_was_installed(
    dmrc: Dmrc, tiny: str, vulkan_server: VulkanServer
) -> None:
    program = vulkan_server.program.resolve()

    installed = dmrc.run("engine", "install", "--from", program.parent, "--name", "mine", env=vulkan_server.environment)
    dmrc.ok("run", tiny, "Hi", env=vulkan_server.environment)
    (runner,) = _runners(dmrc)
    (loaded,) = json.loads(dmrc.ok("ps", "--json"))

    assert installed.returncode == 0, installed.stderr
    assert f"{dmrc.home}/engines/mine/llama-server" in runner
    assert loaded["processor"] == "100% GPU"


def _hanging(dmrc: Dmrc, tmp_path: Path) -> subprocess.Popen[str]:
    """Install a build that hangs when it is asked, and return the command when its server runs."""
    program = fakes.answering(tmp_path / "given" / "llama-server", fakes.HANGS_WHEN_ASKED)
    command = [dmrc.program, "engine", "install", "--from", program.parent]
    process = subprocess.Popen(command, env=dmrc.environment, stderr=subprocess.PIPE, text=True)
    eventually(lambda: any("server.py" in command_of(child) for child in _family(process)), "its server")
    return process


def _family(process: subprocess.Popen[str]) -> list[psutil.Process]:
    return psutil.Process(process.pid).children(recursive=True)


@pytest.mark.engine
def test_an_install_that_is_interrupted_leaves_nothing(dmrc: Dmrc, tmp_path: Path) -> None:
    process = _hanging(dmrc, tmp_path)

    process.send_signal(signal.SIGINT)
    _, stderr = process.communicate(timeout=30)

    assert (process.returncode, stderr) == (130, "dmrc: interrupted\n")
    assert [path.name for path in (dmrc.home / "engines").iterdir()] == [".lock"]
    assert dmrc.processes() == []


@pytest.mark.engine
def test_an_install_that_is_killed_leaves_no_process_and_its_files_go_with_the_next_command(
    dmrc: Dmrc, tmp_path: Path
) -> None:
    process = _hanging(dmrc, tmp_path)

    process.kill()
    process.communicate(timeout=30)
    eventually(lambda: dmrc.processes() == [])
    (left,) = (dmrc.home / "engines").glob(".aside-*")
    dmrc.ok("engine", "use", "xllamacpp")

    assert not left.exists()
    assert sorted(path.name for path in (dmrc.home / "engines").iterdir()) == [".lock", "in-use.json"]
