"""Which builds of llama.cpp there are, and which one the next runner is started with."""

import json
import logging
import shutil
import sys
from pathlib import Path

import pytest

from dmrc.engines.builds.build import FACTS, Build
from dmrc.engines.builds.builds import CHOICE, Builds
from dmrc.engines.llama_cpp.engine import LlamaCpp
from dmrc.errors import InputError, NotFoundError, RuntimeFlagError, SettingError
from tests.engines.child import configured, launch_in


@pytest.fixture(autouse=True)
def _no_llama_server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))


def _program(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("#!/bin/sh\n")
    path.chmod(0o755)
    return path


def _server(directory: Path, name: str) -> Build:
    """Install a llama-server that is never run."""
    place = directory / name
    program = _program(place / "bin" / "llama-server")
    build = Build(name=name, program=program, directory=place, libraries=(program.parent,), version="7 (abc)")
    (place / FACTS).write_text(json.dumps(build.to_json()))
    return build


def _package(directory: Path, name: str) -> Build:
    """Install an xllamacpp that is never imported."""
    place = directory / name
    (place / "xllamacpp").mkdir(parents=True)
    build = Build(name=name, site=place, directory=place, version="2026.1.2")
    (place / FACTS).write_text(json.dumps(build.to_json()))
    return build


def _choose(directory: Path, name: object) -> None:
    (directory / "new").write_text(json.dumps({"name": name}))
    (directory / "new").rename(directory / CHOICE)


def test_what_was_installed_is_read_back_with_all_that_is_known(tmp_path: Path) -> None:
    server, package = _server(tmp_path, "vulkan"), _package(tmp_path, "cu128")

    assert Builds(tmp_path).installed() == [package, server]
    assert Builds(tmp_path).named("vulkan") == server


def test_without_a_choice_the_one_on_path_goes_before_xllamacpp(tmp_path: Path) -> None:
    directory = tmp_path / "engines"
    _server(directory, "vulkan")
    assert Builds(directory).in_use().name == "xllamacpp"

    found = _program(tmp_path / "bin" / "llama-server")

    assert Builds(directory).in_use() == Build(name="llama-server", program=found)


def test_a_choice_counts_from_the_next_look_on_and_may_be_one_that_was_there_anyway(tmp_path: Path) -> None:
    directory = tmp_path / "engines"
    server, package = _server(directory, "vulkan"), _package(directory, "cu128")
    _program(tmp_path / "bin" / "llama-server")
    builds = Builds(directory)
    assert builds.in_use().name == "llama-server"

    used = []
    for name in ("vulkan", "cu128", "xllamacpp", "llama-server"):
        _choose(directory, name)
        used.append(builds.in_use())

    assert used[:2] == [server, package]
    assert [build.name for build in used[2:]] == ["xllamacpp", "llama-server"]


def test_the_setting_goes_before_a_choice(tmp_path: Path) -> None:
    directory = tmp_path / "engines"
    _server(directory, "vulkan")
    _choose(directory, "vulkan")
    mine = _program(tmp_path / "mine")

    assert Builds(directory, str(mine)).in_use().program == mine
    with pytest.raises(SettingError, match="DMRC_LLAMA_SERVER must be the path of a program, not 'nowhere'"):
        Builds(directory, "nowhere")


@pytest.mark.parametrize("name", ["gone", "../vulkan", "", 7, None, "damaged"])
def test_a_choice_that_is_gone_leaves_what_is_there_and_is_told_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, name: object
) -> None:
    _server(tmp_path, "vulkan")
    _server(tmp_path, "damaged")
    (tmp_path / "damaged" / FACTS).write_text("{")
    _choose(tmp_path, name)
    builds = Builds(tmp_path)

    with caplog.at_level(logging.WARNING):
        found = [builds.in_use() for _ in range(3)]

    assert {build.name for build in found} == {"xllamacpp"}
    (line,) = caplog.messages
    assert f"'{tmp_path / CHOICE}'" in line and "In its place: xllamacpp 20" in line


def test_a_build_whose_directory_somebody_removed_is_used_no_more(tmp_path: Path) -> None:
    _server(tmp_path, "vulkan")
    _choose(tmp_path, "vulkan")
    builds = Builds(tmp_path)
    assert builds.in_use().name == "vulkan"

    shutil.rmtree(tmp_path / "vulkan")

    assert builds.in_use().name == "xllamacpp"


def test_an_unknown_name_is_told_with_what_was_meant(tmp_path: Path) -> None:
    _server(tmp_path, "vulkan")

    with pytest.raises(NotFoundError, match=r"there is no build 'vulcan'.*vulkan.*dmrc engine list"):
        Builds(tmp_path).named("vulcan")


def test_the_next_runner_gets_the_build_in_use_without_a_restart(tmp_path: Path) -> None:
    """The engine is made once, with the daemon; flags are refused by what the build in use can."""
    directory = tmp_path / "engines"
    server, package = _server(directory, "vulkan"), _package(directory, "cu128")
    launch = launch_in(tmp_path, gguf=tmp_path / "m.gguf")
    engine = LlamaCpp(None, Builds(directory))

    commands = [engine.command(launch)]
    for name in ("vulkan", "cu128"):
        _choose(directory, name)
        commands.append(engine.command(launch))

    assert commands[0][:4] == [sys.executable, "-P", "-m", "dmrc.engines.llama_cpp.xllamacpp_child"]
    assert json.loads(commands[0][4])["site"] is None
    assert commands[1][3 : 3 + 1 + len(server.argv)] == ["dmrc.engines.exec_with_parent_death", *server.argv]
    assert server.argv == ("/usr/bin/env", f"LD_LIBRARY_PATH={directory}/vulkan/bin", str(server.program))
    assert json.loads(commands[2][4])["site"] == str(package.site)
    assert engine.describe() == "xllamacpp 2026.1.2 (build 'cu128')"
    with pytest.raises(RuntimeFlagError, match="needs a llama-server binary"):
        engine.check(configured("--cpu-moe"))
    _choose(directory, "vulkan")
    engine.check(configured("--cpu-moe"))


@pytest.mark.parametrize("name", ["llama-server", "xllamacpp", "a/b", "..", ".x", "", "x" * 65, "ü"])
def test_a_name_that_no_build_can_have_is_refused(name: str) -> None:
    from dmrc.engines.builds.builds import checked_name

    with pytest.raises(InputError):
        checked_name(name)
