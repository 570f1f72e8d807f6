"""The card that tests of the group `vulkan` have is one: llama.cpp lists it, and computes on it."""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Callable
from pathlib import Path

from tests.polling import eventually
from tests.tiny_gguf import write_tiny_llama
from tests.vulkan import VulkanServer


def listed(server: VulkanServer, environment: dict[str, str]) -> list[str]:
    said = subprocess.run(
        [server.program, "--list-devices"],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=True,
    )
    return [line.strip() for line in said.stdout.splitlines() if "MiB" in line]


def test_a_card_of_limited_memory_is_listed(vulkan_server: VulkanServer) -> None:
    (card,) = listed(vulkan_server, vulkan_server.environment)

    assert card.startswith("Vulkan0: llvmpipe")
    assert "MiB free)" in card


def test_its_driver_says_that_it_is_no_part_of_the_processor(vulkan_server: VulkanServer) -> None:
    """By the line that tells which cards share the machine's RAM: see dmrc/engines/llama_cpp/device_list.py."""
    said = subprocess.run(
        [vulkan_server.program, "--list-devices"],
        env={**os.environ, **vulkan_server.environment, "LLAMA_ARG_LOG_VERBOSITY": "5"},
        capture_output=True,
        text=True,
        check=True,
    )

    assert re.search(r"ggml_vulkan: 0 = llvmpipe .* \| uma: 0 \|", said.stderr + said.stdout)


def test_there_can_be_two_cards_and_none(vulkan_server: VulkanServer) -> None:
    assert [card[:8] for card in listed(vulkan_server, vulkan_server.environment_for(2))] == ["Vulkan0:", "Vulkan1:"]
    assert listed(vulkan_server, {"VK_DRIVER_FILES": "", "VK_ICD_FILENAMES": ""}) == []


def test_the_memory_of_a_card_ends_and_processes_share_it(
    vulkan_server: VulkanServer, card_of: Callable[[int], dict[str, str]], tmp_path: Path
) -> None:
    """100 MiB of 160: a second such process is refused, as on a graphics card, until the first is killed."""
    environment = card_of(160)
    model = write_tiny_llama(tmp_path / "tiny.gguf")

    def start(name: str) -> subprocess.Popen[bytes]:
        command = [vulkan_server.program, "--model", model, "--host", tmp_path / f"{name}.sock", "--fit", "off"]
        command += ["--ctx-size", "409600", "--parallel", "1", "--no-warmup", "--offline"]
        with (tmp_path / f"{name}.log").open("wb") as log:
            return subprocess.Popen(command, env={**os.environ, **environment}, stdout=log, stderr=log)

    def free() -> int:
        (card,) = listed(vulkan_server, environment)
        return int(card.partition("(160 MiB, ")[2].partition(" ")[0])

    assert free() == 160
    first = start("first")
    try:
        eventually(lambda: free() < 60 or first.poll() is not None, "model on the card", 120)
        assert first.poll() is None, (tmp_path / "first.log").read_text()
        second = start("second")
        assert second.wait(timeout=120) != 0
        assert "failed to create" in (tmp_path / "second.log").read_text()
    finally:
        first.kill()
    assert free() == 160
    first.wait()
