"""A graphics card that is none: llama-server built for Vulkan, on Mesa's llvmpipe, which computes on the processor."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.cache import cache_directory

_ROOT = Path(__file__).parents[1]
_DRIVERS = Path("/usr/share/vulkan/icd.d")


@dataclass(frozen=True)
class VulkanServer:
    """A llama-server that can use the card, and what makes it see one."""

    program: Path
    environment: dict[str, str]
    """Without these variables the program uses the processor: llama.cpp leaves out a driver that computes there."""

    def environment_for(self, cards: int) -> dict[str, str]:
        """Return the environment for some cards: each is the same llvmpipe, and counts its memory by itself."""
        return {**self.environment, "GGML_VK_VISIBLE_DEVICES": ",".join(["0"] * cards)}


def vulkan_program() -> str | None:
    """Return the llama-server that `DMRC_TEST_VULKAN_SERVER` names, or the one that `.ci/build-llama` made."""
    if named := os.environ.get("DMRC_TEST_VULKAN_SERVER"):
        return str(Path(named).resolve(strict=True))
    requirement = (_ROOT / ".ci" / "llama-cpp-python.txt").read_text().split()[-1]
    program = cache_directory() / f"llama-vulkan-{requirement.partition('==')[2]}" / "llama-server"
    return str(program) if program.exists() else None


def llvmpipe_driver() -> Path | None:
    """Return the file by which Vulkan's loader finds llvmpipe; its name ends with the processor's in older versions."""
    return next(iter(sorted(_DRIVERS.glob("lvp_icd*.json"))), None)


@pytest.fixture(scope="session")
def vulkan_server(needs_vulkan: None) -> VulkanServer:
    """A card named `Vulkan0` with a memory of its own: 2048 MiB, all of them free whoever uses it (Mesa 22.3).

    llama.cpp and dmrc count by this limit. llvmpipe itself does not keep it: it takes the machine's memory. So a test
    makes a model that needs much of it by a long context, which costs no disk: SmolLM2-135M takes 22.5 KiB for each
    token, so a context of 40000 tokens takes about 0.9 GiB.
    """
    program, driver = vulkan_program(), llvmpipe_driver()
    assert program is not None
    assert driver is not None
    return VulkanServer(
        Path(program),
        {
            "GGML_VK_VISIBLE_DEVICES": "0",
            "VK_DRIVER_FILES": str(driver),
            "VK_ICD_FILENAMES": str(driver),  # before version 1.3.207 of the loader
        },
    )
