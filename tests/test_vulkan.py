"""The card that tests of the group `vulkan` have is one: llama.cpp lists it, and computes on it."""

from __future__ import annotations

import os
import subprocess

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


def test_there_can_be_two_cards_and_none(vulkan_server: VulkanServer) -> None:
    assert [card[:8] for card in listed(vulkan_server, vulkan_server.environment_for(2))] == ["Vulkan0:", "Vulkan1:"]
    assert listed(vulkan_server, {"VK_DRIVER_FILES": "", "VK_ICD_FILENAMES": ""}) == []
