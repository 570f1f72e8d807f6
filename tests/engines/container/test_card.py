"""llama.cpp's server in an image, with a graphics card: asked for its devices, and counted as a build here is."""

from __future__ import annotations

import asyncio
import dataclasses
import json
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from dmrc.engines.container.engine import ContainerEngine
from dmrc.engines.llama_cpp.engine import LlamaCpp
from dmrc.paths import Paths
from dmrc.project import ServingOptions
from tests.dmrc_command import Dmrc, temporary_dmrc
from tests.docker_engine import DockerEngine
from tests.engines.child import launch_in, started
from tests.engines.container.conftest import containers
from tests.engines.container.test_container import answer, asked, project_key
from tests.images import card_image
from tests.polling import eventually
from tests.synthetic_gguf import Shape, write_model
from tests.vulkan import VulkanServer

pytestmark = pytest.mark.docker

# Each token takes 10 KiB of the card: 1.0, 1.2 and 2.3 GiB, of 2 GiB; no tensor may have more than 128 MiB on llvmpipe.
WIDE = Shape(width=512, heads=8, heads_kv=8, blocks=5, inner=512, context_length=1 << 20)
MIDDLING, LARGE, TOO_LARGE = 100_096, 128_000, 240_128


@pytest.fixture(scope="module")
def wide(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_model(tmp_path_factory.mktemp("wide") / "wide.gguf", WIDE)


@pytest.fixture(scope="module")
def image(
    docker_engine: DockerEngine, vulkan_server: VulkanServer, wide: Path, tmp_path_factory: pytest.TempPathFactory
) -> str:
    """An image with the shaders that the model needs, which it is therefore served with on this machine first."""
    launch = launch_in(tmp_path_factory.mktemp("e"), gguf=wide, context_size=4096)

    async def serve() -> None:
        async with started(launch, LlamaCpp(str(vulkan_server.program))) as process:
            await process.wait_ready()
            transport = httpx.AsyncHTTPTransport(uds=str(launch.socket))
            async with httpx.AsyncClient(transport=transport, base_url="http://engine", timeout=300) as client:
                body = {"messages": [{"role": "user", "content": "Hi"}], "max_tokens": 1}
                (await client.post("/v1/chat/completions", json=body)).raise_for_status()

    with pytest.MonkeyPatch.context() as patch:
        for name, value in vulkan_server.environment.items():
            patch.setenv(name, value)
        asyncio.run(serve())
    return card_image(docker_engine, vulkan_server, tmp_path_factory.mktemp("image") / "root")


@pytest.fixture
def card_dmrc(
    docker_engine: DockerEngine, vulkan_server: VulkanServer, wide: Path, needs_process: None
) -> Iterator[Dmrc]:
    """A dmrc that sees a card, and knows a Docker engine and a build for that card."""
    with temporary_dmrc() as dmrc:
        dmrc.environment |= docker_engine.environment | vulkan_server.environment
        dmrc.environment["DMRC_LLAMA_SERVER"] = str(vulkan_server.program)
        dmrc.ok("package", "--gguf", wide, "local/wide")
        yield dmrc
        dmrc.stop()
        assert not containers(docker_engine, dmrc)


def project(**models: dict[str, object]) -> str:
    return json.dumps(
        {
            "name": "carded",
            "services": {"app": {"image": "none", "models": list(models)}},
            "models": {
                name: {"model": "local/wide", "context_size": own.pop("context_size"), "x-dmrc": own}
                for name, own in models.items()
            },
        }
    )


def only_runner(dmrc: Dmrc) -> tuple[str, str, list[str]]:
    (runner,) = json.loads(dmrc.ok("ps", "--json"))
    assert runner["memory_device_bytes"] > 500_000_000
    return runner["engine"], runner["processor"], [device["name"] for device in runner["devices"]]


def refusal(dmrc: Dmrc, key: str, model: str) -> str:
    with asked(dmrc, key, "Hi", model=model) as response:
        document = json.loads(response.read())
    assert response.status != 200
    said: str = document["error"]["message"]
    return said


@pytest.mark.slow("computes on llvmpipe, and compiles for it what was not compiled on this machine before")
def test_models_of_which_the_card_holds_one_take_turns_in_containers_and_out_of_them(
    card_dmrc: Dmrc, image: str, tmp_path: Path
) -> None:
    """The third is a child of the daemon: the card that an image lists is the one that a build here does."""
    boxed = {"engine": "container", "image": image, "parallel": 1, "keep_alive": "1h"}
    document = project(
        first={**boxed, "context_size": MIDDLING, "device": "vulkan0"},
        second={**boxed, "context_size": LARGE, "gpu": "required"},
        third={"engine": "llama.cpp", "parallel": 1, "context_size": MIDDLING},
        fourth={**boxed, "context_size": TOO_LARGE, "gpu": "required"},
        none={**boxed, "context_size": 512, "device": "Vulkan7"},
    )
    key = project_key(card_dmrc, tmp_path, document)

    answer(card_dmrc, key, "Hi", model="first", max_tokens=1)
    assert only_runner(card_dmrc) == ("container", "100% GPU", ["Vulkan0"])
    answer(card_dmrc, key, "Hi", model="second", max_tokens=1)
    assert only_runner(card_dmrc) == ("container", "100% GPU", ["Vulkan0"])
    answer(card_dmrc, key, "Hi", model="third", max_tokens=1)
    assert only_runner(card_dmrc) == ("llama.cpp", "100% GPU", ["Vulkan0"])

    too_large = refusal(card_dmrc, key, "fourth")
    assert "GB on Vulkan0 (llvmpipe" in too_large
    assert "and 2.15 GB of its 2.15 GB are free" in too_large
    assert "asks for device 'Vulkan7', and engine container has Vulkan0 (llvmpipe" in refusal(card_dmrc, key, "none")


@pytest.fixture
def engine(docker_engine: DockerEngine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ContainerEngine:
    """An engine of a machine that shows a card."""
    for name, value in {**docker_engine.environment, "GGML_VK_VISIBLE_DEVICES": "0"}.items():
        monkeypatch.setenv(name, value)
    paths = Paths(tmp_path)
    paths.run.mkdir(parents=True)
    return ContainerEngine(paths)


def left(docker_engine: DockerEngine, home: Path) -> list[str]:
    found = docker_engine.docker("ps", "--all", "--quiet", "--filter", f"label=io.dmrc.home={home}").split()
    return [*found, *map(str, Paths(home).run.iterdir())]


def test_an_image_lists_the_cards_that_its_container_is_given(
    engine: ContainerEngine, docker_engine: DockerEngine, image: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    options = ServingOptions(engine="container", image=image)
    began = time.monotonic()

    (card,) = asyncio.run(engine.devices(options))

    print(f"{time.monotonic() - began:.1f} s")
    assert (card.name, card.description[:8]) == ("Vulkan0", "llvmpipe")
    assert 0 < card.free_bytes <= card.total_bytes
    assert left(docker_engine, tmp_path) == []
    assert asyncio.run(engine.devices(dataclasses.replace(options, device="cpu"))) == ()
    assert asyncio.run(engine.devices(dataclasses.replace(options, command=("{model}", "{socket}")))) == ()
    monkeypatch.setattr("dmrc.engines.container.engine.may_have_card", lambda: False)
    assert asyncio.run(engine.devices(options)) == ()


def image_of(docker_engine: DockerEngine, busybox: str, name: str, script: str) -> str:
    """Make an image that runs a script, whatever it is told."""
    container = docker_engine.docker("create", busybox, "true").strip()
    docker_engine.docker("commit", "--change", f'ENTRYPOINT ["/busybox", "sh", "-c", "{script}"]', container, name)
    docker_engine.docker("rm", container)
    return name


def test_an_image_that_does_not_list_devices_says_why_in_the_log(
    engine: ContainerEngine, docker_engine: DockerEngine, busybox: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    image = image_of(docker_engine, busybox, "old:local", "echo no such option >&2; exit 3")

    assert asyncio.run(engine.devices(ServingOptions(engine="container", image=image))) == ()
    command = engine.order(launch_in(tmp_path, gguf=tmp_path / "m.gguf", image=image)).command

    assert command[command.index("--device") + 1] == "none"
    assert "image old:local does not list its devices: died: exit code 3 (no such option)" in caplog.text
    assert left(docker_engine, tmp_path) == []


def test_an_image_that_hangs_when_it_is_asked_is_gone_when_nobody_waits_any_more(
    engine: ContainerEngine, docker_engine: DockerEngine, busybox: str, tmp_path: Path
) -> None:
    image = image_of(docker_engine, busybox, "hangs:local", "sleep 1000")

    async def story() -> None:
        waits = asyncio.create_task(engine.devices(ServingOptions(engine="container", image=image)))
        runs = ("ps", "--quiet", "--filter", f"label=io.dmrc.home={tmp_path}")
        await asyncio.to_thread(eventually, lambda: docker_engine.docker(*runs).strip(), "container that hangs")
        waits.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waits

    asyncio.run(story())

    assert left(docker_engine, tmp_path) == []
