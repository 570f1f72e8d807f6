"""Engine `llama.cpp`: which program it uses, and what llama-server is told."""

from dataclasses import replace
from pathlib import Path

import pytest

from dmrc.engines.builds import build
from dmrc.engines.llama_cpp.engine import LlamaCpp, dmrc_register_engines
from dmrc.errors import RuntimeFlagError, SettingError
from dmrc.settings import Settings
from tests.engines.child import configured, launch_in


def program(path: Path, text: str) -> Path:
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)
    return path


def after(command: list[str], flag: str) -> str:
    return command[command.index(flag) + 1]


def test_llama_server_gets_the_context_of_all_slots_and_the_projects_flags_last(tmp_path: Path) -> None:
    launch = launch_in(
        tmp_path, gguf=tmp_path / "m.gguf", context_size=512, parallel=3, runtime_flags=("--cache-ram=64", "-np", "9")
    )

    command = LlamaCpp("/opt/llama-server").command(launch)

    assert command[command.index("/opt/llama-server") - 1] == "dmrc.engines.exec_with_parent_death"
    assert after(command, "--ctx-size") == "1536"
    assert after(command, "--parallel") == "3"
    assert after(command, "--host") == str(launch.socket)
    assert after(command, "--alias") == "ai/tiny:latest"
    assert command[-2:] == ["--cache-ram", "64"]
    assert {"--no-kv-unified", "--no-slots", "--no-webui", "--metrics", "--offline"} <= set(command)
    assert not {"-np", "--embeddings", "--reranking", "--mmproj", "--chat-template-file"} & set(command)


def test_on_a_port_of_a_network_it_listens_on_one_address_and_its_keys_are_in_a_file(tmp_path: Path) -> None:
    launch = launch_in(tmp_path, gguf=tmp_path / "m.gguf")

    command = LlamaCpp("llama-server").command(replace(launch, host="10.0.0.7", port=4711, api_keys=tmp_path / "keys"))

    assert (after(command, "--host"), after(command, "--port")) == ("10.0.0.7", "4711")
    assert after(command, "--api-key-file") == str(tmp_path / "keys")
    assert str(launch.socket) not in command


@pytest.mark.parametrize(("mode", "flag"), [("embedding", "--embeddings"), ("rerank", "--reranking")])
def test_the_mode_and_the_files_of_a_package_are_arguments(tmp_path: Path, mode: str, flag: str) -> None:
    files = {"mmproj": tmp_path / "p.gguf", "chat_template": tmp_path / "t.jinja"}

    command = LlamaCpp("llama-server").command(launch_in(tmp_path, gguf=tmp_path / "m.gguf", mode=mode, **files))

    assert flag in command
    assert after(command, "--mmproj") == str(files["mmproj"])
    assert after(command, "--chat-template-file") == str(files["chat_template"])


@pytest.mark.process
def test_the_binary_of_the_setting_goes_before_the_one_on_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    named = program(tmp_path / "mine", 'echo "version: 4711 (abc)" >&2')
    program(tmp_path / "llama-server", "exit 1")
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")

    (mine,) = dmrc_register_engines(Settings(tmp_path, llama_server=str(named)))
    (found,) = dmrc_register_engines(Settings(tmp_path))

    assert mine.describe() == f"{named} (version: 4711 (abc))"
    assert found.program == str(tmp_path / "llama-server")


@pytest.mark.process
def test_a_binary_that_does_not_tell_its_version_holds_up_nobody(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    silent = program(tmp_path / "silent", "exec sleep 60")
    monkeypatch.setattr(build, "_VERSION_SECONDS", 0.2)

    assert LlamaCpp(str(silent)).describe() == f"{silent} (version unknown: no answer in 0.2 s)"


def test_without_a_binary_it_is_xllamacpp_and_refuses_what_that_cannot(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))

    (wheel,) = dmrc_register_engines(Settings(tmp_path))

    assert wheel.describe().startswith("xllamacpp 20")
    with pytest.raises(RuntimeFlagError, match="llama-server binary"):
        wheel.check(configured("--cpu-moe"))
    LlamaCpp("llama-server").check(configured("--cpu-moe"))


def test_a_setting_that_names_no_program_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SettingError, match="DMRC_LLAMA_SERVER must be the path of a program, not 'nowhere'"):
        dmrc_register_engines(Settings(tmp_path, llama_server="nowhere"))


@pytest.mark.process
def test_the_environment_cannot_change_what_llama_server_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """llama-server reads `LLAMA_ARG_*`; a stand-in binary shows what reaches it, through the real keeper."""
    import asyncio

    from tests.engines.child import started

    shown = tmp_path / "shown"
    stand_in = program(tmp_path / "llama-server", f"env > {shown}")
    monkeypatch.setenv("LLAMA_ARG_CTX_SIZE", "1")
    monkeypatch.setenv("LLAMA_API_KEY", "secret")

    async def run() -> None:
        async with started(launch_in(tmp_path, gguf=tmp_path), LlamaCpp(str(stand_in))) as process:
            assert await process.wait_exit() == 0

    asyncio.run(run())
    by_default = shown.read_text()
    monkeypatch.setenv("OMP_WAIT_POLICY", "active")
    asyncio.run(run())

    assert "PATH=" in by_default
    assert "LLAMA_A" not in by_default
    assert "GOMP_SPINCOUNT=1000\n" in by_default
    assert "GOMP_SPINCOUNT" not in shown.read_text()
