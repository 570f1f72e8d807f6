"""What a build of llama.cpp says of its devices: in a child, in bounded time, and without ever raising."""

import asyncio
import time
from pathlib import Path

import pytest

from dmrc.engines.devices import Device, DeviceList
from dmrc.engines.llama_cpp import engine
from dmrc.engines.llama_cpp.device_list import LIST_SECONDS, list_devices, of_binary, of_wheel
from dmrc.engines.llama_cpp.engine import LlamaCpp
from dmrc.project import ServingOptions
from tests.polling import eventually
from tests.processes import has_ended
from tests.vulkan import VulkanServer

_LISTED = """
load_backend: loaded CUDA backend
Available devices:
  CUDA0: NVIDIA GeForce RTX 4090 (24080 MiB, 23604 MiB free)
  Vulkan0: llvmpipe (LLVM 15.0.6, 256 bits) (2048 MiB, 1 MiB free)
  BLAS: OpenBLAS (0 MiB, 0 MiB free)
"""


def _program(path: Path, text: str) -> str:
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)
    return str(path)


def _asked(program: str, seconds: float = 20) -> DeviceList:
    return asyncio.run(list_devices(of_binary(program), seconds))


@pytest.mark.process
def test_each_card_is_read_with_its_memory_and_what_has_none_is_no_card(tmp_path: Path) -> None:
    binary = _program(tmp_path / "llama-server", f"[ $# = 1 -a $1 = --list-devices ] && echo '{_LISTED}'")

    answer = _asked(binary)

    assert answer == DeviceList(
        (
            Device("CUDA0", "NVIDIA GeForce RTX 4090", 24080 << 20, 23604 << 20),
            Device("Vulkan0", "llvmpipe (LLVM 15.0.6, 256 bits)", 2048 << 20, 1 << 20),
        )
    )


@pytest.mark.process
def test_a_card_whose_memory_is_the_machines_ram_is_told_from_others(tmp_path: Path) -> None:
    """The list has no word for it: Apple's are known by their name, and Vulkan says it to those who debug."""
    said = "0.00.075.848 D ggml_vulkan: {} = a card (a driver) | uma: {} | fp16: 1 | matrix cores: none"
    listed = "\n".join(
        [
            "Available devices:",
            *(f"  {name}: x (9 MiB, 8 MiB free)" for name in ("Vulkan0", "Vulkan1", "CUDA1", "MTL0")),
        ]
    )
    binary = _program(
        tmp_path / "llama-server",
        f"if [ $LLAMA_ARG_LOG_VERBOSITY = 5 ]; then echo '{said.format(0, 0)}\n{said.format(1, 1)}' >&2; fi\n"
        f"echo '{listed}'",
    )

    answer = _asked(binary)

    assert [(device.name, device.shares_ram, device.maps_weights) for device in answer.devices] == [
        ("Vulkan0", False, False),
        ("Vulkan1", True, False),
        ("CUDA1", False, False),
        ("MTL0", True, True),
    ]


@pytest.mark.process
@pytest.mark.parametrize(
    ("text", "failure"),
    [
        ("kill -ILL $$", "died: it was built for another processor"),
        ("echo 'libcuda.so.1: cannot open' >&2; exit 127", "died: exit code 127 (libcuda.so.1: cannot open)"),
        ("echo 'error: invalid argument: --list-devices' >&2; exit 1", "died: exit code 1 (error: invalid argument"),
        ("echo Available devices:; echo '  CUDA0: x (1 MiB, 1 MiB free)'; kill -SEGV $$", "died: it crashed"),
        ("exit 0", "died: exit code 0"),
    ],
)
def test_a_build_that_dies_is_told_from_one_without_a_card(tmp_path: Path, text: str, failure: str) -> None:
    answer = _asked(_program(tmp_path / "llama-server", text))

    assert answer.devices == ()
    assert (answer.failure or "").startswith(failure)


@pytest.mark.process
def test_a_build_without_a_card_says_so_and_a_missing_one_died(tmp_path: Path) -> None:
    none = _asked(_program(tmp_path / "llama-server", "echo Available devices:; echo '  (none)'"))
    missing = asyncio.run(list_devices([str(tmp_path / "nowhere")]))
    no_program = _asked(str(tmp_path / "nowhere"))

    assert none == DeviceList()
    assert "No such file" in (missing.failure or "")
    assert "No such file" in (no_program.failure or "")


@pytest.mark.process
def test_a_build_that_hangs_is_killed_with_all_that_it_started(tmp_path: Path) -> None:
    noted = tmp_path / "pid"
    hanging = _program(tmp_path / "llama-server", f"trap '' TERM; sleep 60 & echo $! > {noted}; wait; sleep 60")

    answer = _asked(hanging, seconds=4)

    assert answer == DeviceList(failure="no answer in 4 s")
    started = int(noted.read_text())
    eventually(lambda: has_ended(started), "its end")


@pytest.mark.process
def test_secrets_of_the_shell_do_not_reach_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_TOKEN", "secret")
    shown = tmp_path / "shown"

    _asked(_program(tmp_path / "llama-server", f"env > {shown}; echo Available devices:"))

    assert "secret" not in shown.read_text()


_SIZES = "\n_SIZES = {'description': 'z', 'memory_free': 7 << 20, 'memory_total': 7 << 20}\n"


@pytest.mark.engine
def test_the_wheel_is_asked_too_and_one_in_a_directory_goes_before_it(tmp_path: Path) -> None:
    package = tmp_path / "xllamacpp.py"
    package.write_text(
        "def get_device_info():\n"
        "    return [{'name': 'CPU', 'description': 'x', 'memory_free': 9, 'memory_total': 9, 'type': 'TYPE_CPU'},\n"
        "            {'name': 'ROCm0', 'description': 'AMD y', 'memory_free': 3 << 20, 'memory_total': 5 << 20,\n"
        "             'type': 'TYPE_GPU'}]\n"
    )

    own = asyncio.run(list_devices(of_wheel()))
    placed = asyncio.run(list_devices(of_wheel(tmp_path)))
    package.write_text(package.read_text().replace("TYPE_GPU", "TYPE_IGPU"))
    integrated = asyncio.run(list_devices(of_wheel(tmp_path)))
    package.write_text(
        package.read_text().replace("}]", "}, {'name': 'Vulkan0', 'type': 'TYPE_GPU', **_SIZES}]") + _SIZES
    )
    beside = asyncio.run(list_devices(of_wheel(tmp_path)))
    package.write_text("import nothing_of_that_name")
    broken = asyncio.run(list_devices(of_wheel(tmp_path)))

    assert own.failure is None
    assert placed == DeviceList((Device("ROCm0", "AMD y", 5 << 20, 3 << 20),))
    assert integrated == DeviceList((Device("ROCm0", "AMD y", 5 << 20, 3 << 20, shares_ram=True),))
    assert beside == DeviceList((Device("Vulkan0", "z", 7 << 20, 7 << 20),)), (
        "the wheel cannot be told to use the other"
    )
    assert "nothing_of_that_name" in (broken.failure or "")


@pytest.mark.process
def test_no_child_is_started_where_the_machine_shows_no_card(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    started = tmp_path / "started"
    server = LlamaCpp(_program(tmp_path / "llama-server", f"touch {started}; echo '{_LISTED}'"))
    monkeypatch.setattr(engine, "may_have_card", lambda: False)

    assert asyncio.run(server.devices(ServingOptions())) == ()
    assert not started.exists()

    monkeypatch.setattr(engine, "may_have_card", lambda: True)

    assert [device.name for device in asyncio.run(server.devices(ServingOptions()))] == ["CUDA0", "Vulkan0"]


@pytest.mark.process
def test_an_engine_that_does_not_list_them_says_why_in_the_log(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(engine, "may_have_card", lambda: True)
    server = LlamaCpp(_program(tmp_path / "llama-server", "kill -ILL $$"))

    assert asyncio.run(server.devices(ServingOptions())) == ()
    assert "does not list its devices: died: it was built for another processor" in caplog.text


def test_a_build_for_vulkan_lists_the_software_driver_and_the_processor_is_none(
    vulkan_server: VulkanServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = str(vulkan_server.program)
    without = _asked(program)
    for name, value in vulkan_server.environment_for(2).items():
        monkeypatch.setenv(name, value)

    began = time.monotonic()
    answer = _asked(program)

    assert without == DeviceList()
    assert [device.name for device in answer.devices] == ["Vulkan0", "Vulkan1"]
    assert all("llvmpipe" in device.description for device in answer.devices)
    assert not any(device.shares_ram for device in answer.devices)
    assert all(0 < device.free_bytes <= device.total_bytes for device in answer.devices)
    assert asyncio.run(LlamaCpp(program).devices(ServingOptions())) == answer.devices
    assert time.monotonic() - began < 2 * LIST_SECONDS
