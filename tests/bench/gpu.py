"""A graphics card with a build of llama.cpp that can use it: the first token, the speed, and the count of its memory.

`DMRC_BENCH_BUILD` names the build as `dmrc engine install --from` takes it; without it, it is the one that
`.ci/build-llama` made. Where that build sees no card, llvmpipe stands in, which computes on the processor: then the
whole runs, with smaller models, and the bar of the speed does not apply.
"""

from __future__ import annotations

import json
import os
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import median
from typing import Any

import gguf
import httpx

from dmrc.engines.llama_cpp.memory import estimate
from dmrc.engines.local_model import LocalModel
from dmrc.engines.placement import ALL
from dmrc.gguf import GgufFacts
from dmrc.project import ServingOptions
from tests.bench.figure import Figure, LeftOut
from tests.dmrc_command import Dmrc, temporary_dmrc
from tests.synthetic_gguf import Shape, write_model
from tests.vulkan import limited_cards, llvmpipe_driver, software_card, vulkan_program

_MIB = 1 << 20
_FASTER = 10.0
_NEAR_PERCENT = 10.0
_ROUNDS = 3
_SOFTWARE_MIB = 3072
_ONE_BILLION = Shape(
    width=2048, blocks=16, heads=32, heads_kv=8, inner=8192, vocabulary=32000, context_length=1 << 24,
    weights=gguf.GGMLQuantizationType.Q8_0,
)  # fmt: skip


@dataclass(frozen=True)
class Bench:
    """A dmrc with the build in use, and the models to load."""

    dmrc: Dmrc
    card: str
    """What the build calls it: `Vulkan0: NVIDIA H200`."""
    is_software: bool
    shapes: dict[str, Shape]
    """Three models by name; the first one is measured for speed."""
    facts: dict[str, GgufFacts]
    """What their headers say."""
    first_seconds: float
    """From the beginning of `engine install --from` to the first token."""

    @property
    def free_bytes(self) -> int:
        """Return what the driver says that is free of the card now."""
        free: int = _devices(self.dmrc)[0]["free_bytes"]
        return free

    def configure(self, model: str, *flags: str, context_size: int = 1024) -> None:
        """Set how a model is served, and end what was served otherwise."""
        sizes = ("--context-size", str(context_size), "--parallel", "1")
        self.dmrc.ok("configure", model, *sizes, "--", *(flags or ("--temp", "0")))
        self.dmrc.ok("unload", "--all")

    def answer(self, model: str, tokens: int) -> dict[str, Any]:
        """Return the engine's own timings of an answer."""
        timings: dict[str, Any] = _answer(self.dmrc, model, tokens)["timings"]
        return timings

    def runners(self) -> list[dict[str, Any]]:
        """Return what is loaded."""
        found: list[dict[str, Any]] = json.loads(self.dmrc.ok("ps", "--json"))
        return [one for one in found if not one["loading"]]


def measure() -> list[Figure]:
    """Return the four bars of a card."""
    with tempfile.TemporaryDirectory(prefix="dmrc-") as name, _bench(Path(name)) as bench:
        print(f"card: {bench.card}", flush=True)
        return [*_first(bench), _speed(bench), *_memory(bench), *_turns(bench)]


@contextmanager
def _bench(directory: Path) -> Iterator[Bench]:
    build = os.environ.get("DMRC_BENCH_BUILD") or vulkan_program()
    if build is None:
        raise LeftOut("DMRC_BENCH_BUILD must name a build of llama.cpp for the card, or .ci/build-llama makes one")
    with temporary_dmrc() as dmrc:
        began = time.monotonic()
        dmrc.ok("engine", "install", "--from", build, "--name", "card", timeout=300)
        if is_software := not _devices(dmrc):
            if vulkan_program() is None or llvmpipe_driver() is None:
                raise LeftOut("the build sees no card, and there is no llvmpipe (mesa-vulkan-drivers) to stand in")
            dmrc.environment |= limited_cards(software_card(), directory)(_SOFTWARE_MIB)
            began = time.monotonic()
            dmrc.ok("engine", "use", "card", timeout=300)
        shape = replace(_ONE_BILLION, width=256, heads=4, heads_kv=4, inner=512, blocks=8, vocabulary=4096)
        shapes = _shapes(shape if is_software else _ONE_BILLION)
        facts: dict[str, GgufFacts] = {}
        written = time.monotonic()
        for model, one in shapes.items():
            path = write_model(directory / "model.gguf", one)
            dmrc.ok("package", "--gguf", path, model, timeout=300)
            dmrc.ok("configure", model, "--context-size", "1024", "--parallel", "1")
            with path.open("rb") as stream:
                facts[model] = GgufFacts.parse(stream, name=model)
            path.unlink()
        began += time.monotonic() - written
        _answer(dmrc, next(iter(shapes)), 1)
        card = _devices(dmrc)[0]
        seconds = time.monotonic() - began
        yield Bench(dmrc, f"{card['name']}: {card['description']}", is_software, shapes, facts, seconds)


def _shapes(whole: Shape) -> dict[str, Shape]:
    half = replace(whole, blocks=whole.blocks // 2, weights=gguf.GGMLQuantizationType.F16)
    wide = replace(whole, architecture="qwen2", heads_kv=whole.heads, weights=gguf.GGMLQuantizationType.Q4_0)
    return {"local/one": whole, "local/half": half, "local/wide": wide}


def _devices(dmrc: Dmrc) -> list[dict[str, Any]]:
    """Return the devices of the build in use, as its driver tells them now."""
    (used,) = (one for one in json.loads(dmrc.ok("engine", "list", "--json")) if one["in_use"])
    found: list[dict[str, Any]] = used["devices"]
    return found


def _answer(dmrc: Dmrc, model: str, tokens: int) -> dict[str, Any]:
    body = {"model": model, "prompt": "a b c d", "max_tokens": tokens, "ignore_eos": True, "temperature": 0}
    url = f"http://127.0.0.1:{dmrc.port}/engines/v1/completions"
    answered = httpx.post(url, json=body, timeout=600)
    assert answered.status_code == 200, answered.text
    document: dict[str, Any] = answered.json()
    return document


def _first(bench: Bench) -> list[Figure]:
    (runner,) = bench.runners()
    on_card = runner["processor"] == "100% GPU"
    return [
        Figure(name="first token after engine install --from", value=bench.first_seconds, unit="s"),
        Figure(name="it was computed on the card", value=float(on_card), unit="", bar=1, better="higher"),
    ]


def _speed(bench: Bench) -> Figure:
    """Compare the card with the processor, by the same build and model."""
    model, tokens = next(iter(bench.shapes)), 32 if bench.is_software else 128

    def speed(*flags: str) -> float:
        bench.configure(model, *flags)
        bench.answer(model, 4)  # loads it
        return median(float(bench.answer(model, tokens)["predicted_per_second"]) for _ in range(_ROUNDS))

    processor, card = speed("--device", "none"), speed()
    return Figure(
        name=f"tokens/s of 1 B on the card{' (software: no bar)' if bench.is_software else ''}",
        value=card / processor,
        unit="×",
        bar=None if bench.is_software else _FASTER,
        better="higher",
        ours=f"{card:.1f} tokens/s",
        theirs=f"{processor:.1f} on the processor",
        runs=_ROUNDS,
    )


def _memory(bench: Bench) -> Iterator[Figure]:
    """Compare the estimate, and what dmrc counts of the card after the load, with what the driver misses."""
    # llama.cpp's buffers are tens of megabytes on any card: beside a small context they would be all that is measured.
    context_size = 65536 if bench.is_software else 8192
    for model in bench.shapes:
        bench.configure(model, context_size=context_size)
        before = bench.free_bytes
        bench.answer(model, 4)
        taken = before - bench.free_bytes
        local = LocalModel(path=Path("model.gguf"), facts=bench.facts[model])
        guessed = estimate(local, ServingOptions(context_size=context_size), 1, ALL).device_bytes
        for what, size in (("estimate", guessed), ("count", bench.runners()[0]["memory_device_bytes"])):
            yield Figure(
                name=f"memory of {model} on the card: {what} off by",
                value=abs(size / taken - 1) * 100 if taken else 100,
                unit="%",
                bar=_NEAR_PERCENT,
                ours=f"{size / _MIB:.0f} MiB",
                theirs=f"{taken / _MIB:.0f} MiB less free",
            )


def _turns(bench: Bench) -> Iterator[Figure]:
    """Ask two models in turn that each take 60 % of what is free: both answer, and never are both on the card."""
    models = ["local/one", "local/wide"]  # of as many blocks: a driver may limit what one of them keeps
    for model in models:
        shape = bench.shapes[model]
        a_token = shape.blocks * shape.heads_kv * shape.key_length * 2 * 2
        bench.configure(model, context_size=int(0.6 * bench.free_bytes / a_token) // 256 * 256)
    together, split = 0, 0
    for model in models * _ROUNDS:
        bench.answer(model, 4)
        runners = bench.runners()
        together += len(runners) > 1
        split += any(runner["processor"] != "100% GPU" for runner in runners)
    asked = f"of {len(models) * _ROUNDS} answers"
    yield Figure(name="two models that do not fit were both loaded", value=together, unit="times", bar=0, ours=asked)
    yield Figure(name="one of them was split, or on the processor", value=split, unit="times", bar=0, ours=asked)
