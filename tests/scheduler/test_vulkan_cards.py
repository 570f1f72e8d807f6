"""The memory of a card that llama-server really uses: who gets it, and how good the estimate is."""

from __future__ import annotations

import asyncio
import dataclasses
from pathlib import Path

import pytest

from dmrc.engines.llama_cpp.engine import LlamaCpp
from dmrc.engines.local_model import Companion, Companions, LocalModel
from dmrc.engines.placement import ALL
from dmrc.errors import InsufficientMemoryError
from dmrc.gguf import GgufFacts
from dmrc.project import ServingOptions
from dmrc.scheduler.budget import Budget
from dmrc.scheduler.description import describe_runner
from dmrc.scheduler.lease import Lease
from dmrc.scheduler.runner import ManagedRunner
from dmrc.scheduler.scheduler import Scheduler
from dmrc.scheduler.states import RunnerState
from dmrc.scheduler.target import Target
from tests.scheduler.conftest import Workshop, ask, hold, play, until
from tests.synthetic_gguf import Shape, write_model
from tests.tiny_projector import write_tiny_projector
from tests.vulkan import VulkanServer

MIB = 1 << 20

# Each token of SmolLM2-135M takes 22.5 KiB: 0.7, 1.2 and 4.6 GiB, of a card of 2 GiB.
MIDDLING, LARGE, TOO_LARGE = 32_768, 53_248, 204_800


class Cards:
    """A scheduler whose engine sees one card or more, and models for it."""

    def __init__(self, workshop: Workshop, server: VulkanServer, gguf: Path) -> None:
        self.engine = LlamaCpp(str(server.program))
        self.scheduler: Scheduler = workshop.scheduler(engine=self.engine, budget=Budget(1 << 40))
        self._gguf = gguf

    def target(self, context_size: int, *, gguf: Path | None = None, name: str = "model", **said: object) -> Target:
        path = gguf or self._gguf
        with path.open("rb") as stream:
            facts = dataclasses.replace(GgufFacts.parse(stream, name=name), context_length=None)
        options = ServingOptions(mode="completion", context_size=context_size, parallel=1)
        return Target(
            reference=f"docker.io/local/{name}:latest",
            server="llama-server",
            digest="sha256:" + "1" * 64,
            model=LocalModel(path=path, facts=facts),
            options=dataclasses.replace(options, **said),  # type: ignore[arg-type]
        )

    async def load(self, context_size: int, **said: object) -> ManagedRunner:
        return await self.scheduler.load(self.target(context_size, **said))  # type: ignore[arg-type]


@pytest.fixture
def cards(workshop: Workshop, vulkan_server: VulkanServer, smollm2: Path, monkeypatch: pytest.MonkeyPatch) -> Cards:
    for name, value in vulkan_server.environment.items():
        monkeypatch.setenv(name, value)
    return Cards(workshop, vulkan_server, smollm2)


def shown(runner: ManagedRunner) -> tuple[object, object, object]:
    """Return what computes a runner, on which cards, and what is said of it."""
    document = describe_runner(runner)
    devices = document["devices"]
    assert isinstance(devices, list)
    return document["processor"], [device["name"] for device in devices], document["notice"]


def test_of_two_models_of_which_the_card_holds_one_the_resting_one_goes(cards: Cards) -> None:
    async def story() -> None:
        first = await cards.load(MIDDLING)
        assert shown(first) == ("100% GPU", ["Vulkan0"], None)
        await asyncio.sleep(0.1)

        second = await cards.load(LARGE)

        assert shown(second) == ("100% GPU", ["Vulkan0"], None)
        assert (first.state, first.stop_reason) == (RunnerState.STOPPED, "evicted")
        async with cards.scheduler.lease(second.target) as lease:
            assert await ask(lease) == 200

    play(cards.scheduler, story)


def test_two_that_load_at_once_are_never_both_on_a_card_that_holds_one(cards: Cards) -> None:
    async def watch(most: list[int]) -> None:
        while True:
            most[0] = max(most[0], sum(runner.held.on("Vulkan0") for runner in cards.scheduler.runners()))
            await asyncio.sleep(0.005)

    async def story() -> None:
        most = [0]
        watching = asyncio.create_task(watch(most))

        both = await asyncio.gather(cards.load(LARGE), cards.load(LARGE + 1024))

        watching.cancel()
        assert [shown(runner)[0] for runner in both] == ["100% GPU", "100% GPU"]
        assert 1024 * MIB < most[0] <= 2048 * MIB

    play(cards.scheduler, story)


def test_what_fits_in_part_beside_one_in_use_is_split_and_said_to_be(
    cards: Cards, caplog: pytest.LogCaptureFixture
) -> None:
    async def story() -> None:
        release, got = asyncio.Event(), list[Lease]()
        busy = asyncio.create_task(hold(cards.scheduler, cards.target(MIDDLING), release, got))
        await until(lambda: bool(got), "the first has its slot")

        split = await cards.load(LARGE, name="second")

        processor, devices, notice = shown(split)
        assert devices == ["Vulkan0"]
        assert str(processor).endswith("% CPU/GPU")
        assert str(notice).startswith("model 'docker.io/local/second:latest' is computed in part by the processor: ")
        assert got[0].runner.state is RunnerState.READY
        assert split.need is not None and got[0].runner.need is not None
        assert split.need.memory.device_bytes + got[0].runner.need.memory.device_bytes <= 2048 * MIB
        async with cards.scheduler.lease(split.target) as lease:
            assert await ask(lease) == 200
        release.set()
        await busy

    play(cards.scheduler, story)
    assert "is computed in part by the processor" in caplog.text


def test_one_that_requires_a_card_and_fits_on_none_is_refused_with_the_numbers_of_the_card(cards: Cards) -> None:
    async def story() -> None:
        with pytest.raises(InsufficientMemoryError) as caught:
            await cards.load(TOO_LARGE, gpu="required")

        assert "needs 5." in caught.value.message
        assert "GB on Vulkan0 (llvmpipe" in caught.value.message
        assert caught.value.message.endswith("and 2.15 GB of its 2.15 GB are free")
        assert caught.value.remedy is not None
        offered = int(caught.value.remedy.split("A context_size of ")[1].split()[0])
        assert shown(await cards.load(offered, gpu="required")) == ("100% GPU", ["Vulkan0"], None)

    play(cards.scheduler, story)


def test_the_processor_computes_what_is_told_to(cards: Cards) -> None:
    async def story() -> None:
        assert shown(await cards.load(512, device="cpu")) == ("100% CPU", [], None)
        of_flags = await cards.load(512, runtime_flags=("-ngl", "10"))
        assert shown(of_flags)[1:] == (["Vulkan0"], None)
        assert str(shown(of_flags)[0]).endswith("% CPU/GPU")

    play(cards.scheduler, story)


def test_one_that_no_card_holds_alone_is_on_two(
    workshop: Workshop, vulkan_server: VulkanServer, smollm2: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in vulkan_server.environment_for(2).items():
        monkeypatch.setenv(name, value)
    cards = Cards(workshop, vulkan_server, smollm2)

    async def story() -> None:
        runner = await cards.load(100_000)

        assert shown(runner) == ("100% GPU", ["Vulkan0", "Vulkan1"], None)
        async with cards.scheduler.lease(runner.target) as lease:
            assert await ask(lease) == 200

    play(cards.scheduler, story)


def test_what_is_loaded_beside_a_model_is_on_the_card_and_counted(cards: Cards, tmp_path: Path) -> None:
    shape = Shape(width=512, blocks=4, heads=8, heads_kv=4, inner=2048, context_length=4096)
    draft = write_model(tmp_path / "draft.gguf", dataclasses.replace(shape, blocks=2), seed=1)
    eyes = write_tiny_projector(tmp_path / "eyes.gguf", embedding_length=512)

    async def story() -> None:
        target = cards.target(2048, gguf=write_model(tmp_path / "model.gguf", shape))
        assert target.model is not None
        companions = Companions(mmproj=companion(eyes), draft=companion(draft))
        flags = ("--spec-type", "draft-simple")
        target = dataclasses.replace(
            target,
            model=dataclasses.replace(target.model, companions=companions),
            options=dataclasses.replace(target.options, runtime_flags=flags),
        )
        estimated = cards.engine.estimate(target.model, target.options, 1, ALL)

        runner = await cards.scheduler.load(target)

        assert shown(runner) == ("100% GPU", ["Vulkan0"], None)
        assert estimated is not None and runner.need is not None
        assert estimated.device_bytes == pytest.approx(runner.need.memory.device_bytes, rel=0.15)
        lines = runner.process.load_notes if runner.process is not None else []
        assert any("CLIP using Vulkan0" in line for line in lines)
        assert sum("Vulkan0 model buffer" in line for line in lines) == 2

    def companion(path: Path) -> Companion:
        with path.open("rb") as stream:
            return Companion(path, GgufFacts.parse(stream, name=path.name))

    play(cards.scheduler, story)


MODELS = {
    "SmolLM2": None,
    "wide": Shape(width=1024, blocks=6, heads=16, heads_kv=4, inner=2816, vocabulary=4096, context_length=8192),
    "gemma3": Shape(
        architecture="gemma3", width=512, blocks=12, heads=8, heads_kv=4, inner=2048, sliding_window=512,
        vocabulary=16384, context_length=8192,
    ),
    "qwen2": Shape(architecture="qwen2", width=896, blocks=8, heads=14, heads_kv=2, inner=4864, context_length=8192),
}  # fmt: skip


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("context_size", [2048, 8192])
def test_the_estimate_of_a_cards_part_is_within_10_percent_of_what_the_log_says(
    cards: Cards, tmp_path: Path, name: str, context_size: int
) -> None:
    shape = MODELS[name]
    gguf = None if shape is None else write_model(tmp_path / f"{name}.gguf", shape)

    async def story() -> None:
        target = cards.target(context_size, gguf=gguf, name=name.lower())
        estimated = cards.engine.estimate(target.model, target.options, 1, ALL)

        runner = await cards.scheduler.load(target)

        assert runner.process is not None and estimated is not None
        logged = cards.engine.device_use(runner.process.load_notes)["Vulkan0"]
        assert runner.need is not None and runner.need.memory.device_bytes == logged
        print(f"{name} {context_size}: {estimated.device_bytes / MIB:.1f} MiB, {logged / MIB:.1f} by the log")
        assert estimated.device_bytes == pytest.approx(logged, rel=0.1)

    play(cards.scheduler, story)
