"""A graphics card that is none: llama-server built for Vulkan, on Mesa's llvmpipe, which computes on the processor."""

from __future__ import annotations

import itertools
import json
import os
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.cache import cache_directory

_ROOT = Path(__file__).parents[1]
_DRIVERS = Path("/usr/share/vulkan/icd.d")
_LAYER = Path(__file__).parent / "card" / "memory.c"


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
    """A card named `Vulkan0`. Its memory is 2048 MiB, all of them free whoever uses it (Mesa 22.3), and no limit.

    `card_of` gives it a memory that ends. SmolLM2-135M answers on it with 1.3 tokens/s: take tiny models.
    """
    return software_card()


def software_card() -> VulkanServer:
    """Return llvmpipe and the build that can use it; both must be on this machine."""
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


@pytest.fixture(scope="session")
def card_of(vulkan_server: VulkanServer, tmp_path_factory: pytest.TempPathFactory) -> Callable[[int], dict[str, str]]:
    """Return the environment of a new card with so many MiB of memory, as a graphics card has them.

    All processes with that environment share it: what one holds is not free for the other, what does not fit fails
    (`ErrorOutOfDeviceMemory`), and what a killed one held is free again. So nothing has to be said about it: the
    engine's own list of devices tells what is free. llama.cpp keeps 1024 MiB free (`--fit-target`) unless it is told
    otherwise, so a card of less gets nothing by `--fit on`.

    A context is the cheap way to take much: `write_tiny_llama` takes 256 bytes for each token and pair of blocks, so
    `--ctx-size 400000` takes about 100 MiB of the card, and no time.
    """
    return limited_cards(vulkan_server, tmp_path_factory.mktemp("card"))


def limited_cards(server: VulkanServer, directory: Path) -> Callable[[int], dict[str, str]]:
    """Return what makes new cards, each of so many MiB; the layer that limits them is compiled to a directory."""
    library = directory / "libmemory.so"
    subprocess.run(["cc", "-O1", "-shared", "-fPIC", "-o", library, _LAYER, "-lpthread"], check=True)
    manifest = {"name": "VK_LAYER_DMRC_memory", "type": "GLOBAL", "library_path": str(library)}
    manifest |= {"api_version": "1.3.0", "implementation_version": "1", "description": "a memory that ends"}
    (directory / "memory.json").write_text(json.dumps({"file_format_version": "1.1.2", "layer": manifest}))
    numbers = itertools.count()

    def new_card(mebibytes: int) -> dict[str, str]:
        return {
            **server.environment,
            "VK_INSTANCE_LAYERS": manifest["name"],
            "VK_LAYER_PATH": str(directory),
            # VK_…: only such variables reach the engines of dmrc.
            "VK_CARD_BYTES": str(mebibytes << 20),
            "VK_CARD_FILE": str(directory / f"card-{next(numbers)}"),
        }

    return new_card
