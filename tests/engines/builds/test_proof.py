"""The model that a build is proved with, and real builds that prove themselves."""

import asyncio
import gzip
from importlib import metadata, resources
from pathlib import Path

import pytest

from dmrc.engines.builds import proof
from dmrc.engines.builds.build import Build
from dmrc.engines.builds.proof import prove
from tests.scripted_gguf import write_scripted_llama
from tests.vulkan import VulkanServer


def test_the_model_is_what_the_writer_writes(tmp_path: Path) -> None:
    written = write_scripted_llama(tmp_path / "m.gguf", ["The", " build", " works"], "{{ messages }}")

    packed = (resources.files("dmrc.engines.builds") / proof.MODEL_FILE).read_bytes()

    assert gzip.decompress(packed) == written.read_bytes()
    assert len(packed) < 10_000


@pytest.mark.engine
def test_the_xllamacpp_of_the_environment_works(tmp_path: Path) -> None:
    shown = asyncio.run(prove(Build(name="xllamacpp"), tmp_path, 60))

    assert shown.version == metadata.version("xllamacpp")


def test_a_build_for_a_card_shows_it_and_works(
    tmp_path: Path, vulkan_server: VulkanServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in vulkan_server.environment.items():
        monkeypatch.setenv(name, value)

    shown = asyncio.run(prove(Build(name="vulkan", program=vulkan_server.program), tmp_path, 120))

    (card,) = shown.devices
    assert (card.name, card.total_bytes) == ("Vulkan0", 2048 << 20)
