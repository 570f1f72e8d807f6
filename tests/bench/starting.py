"""How long commands take that do nearly nothing: `dmrc --help`, and `dmrc up -d` of a project that is up already."""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from statistics import median

from tests.bench._gateways import BASELINE, OURS, ROUNDS, baseline
from tests.bench.figure import Figure
from tests.dmrc_command import Dmrc, temporary_dmrc
from tests.docker_engine import DockerEngine, running_docker
from tests.groups import compose_binary
from tests.images import import_busybox
from tests.tiny_gguf import write_tiny_llama

_MODEL = "local/tiny"
_COMPOSE = """
name: ready{number}
services:
  one: {{image: "{image}", command: [sleep, "3600"], init: true, models: [llm]}}
  two: {{image: "{image}", command: [sleep, "3600"], init: true, models: [llm]}}
models:
  llm: {{model: {model}, context_size: 256, x-dmrc: {{parallel: 1, keep_alive: -1}}}}
"""


def measure() -> list[Figure]:
    """Measure this build, an older one where it is given, and `docker compose` in turn."""
    with ExitStack() as stack:
        builds = {OURS: stack.enter_context(temporary_dmrc())}
        if (checkout := baseline()) is not None:
            builds[BASELINE] = stack.enter_context(temporary_dmrc(checkout))
        figures = _figures("dmrc --help", 100, {name: _timed(dmrc, "--help") for name, dmrc in builds.items()}, None)
        missing = [name for name in ("dockerd", "busybox") if shutil.which(name) is None]
        if missing or compose_binary() is None or os.geteuid() != 0:
            return figures
        engine = stack.enter_context(running_docker())
        image = import_busybox(engine)
        ways = {}
        for number, (name, dmrc) in enumerate(builds.items()):
            directory = stack.enter_context(_ready(dmrc, engine, image, number))
            ways[name] = _timed(dmrc, "up", "--detach", cwd=directory)
            compose = _compose(engine, directory)
        return [*figures, *_figures("dmrc up -d of a ready project, beyond Compose", 200, ways, compose)]


def _figures(
    what: str, bar: float, ways: dict[str, Callable[[], float]], beyond: Callable[[], float] | None
) -> list[Figure]:
    """Return the milliseconds of each, less what `beyond` takes in the same round; the bar is for ours."""
    found: dict[str, list[float]] = {name: [] for name in ways}
    plain = []
    for number in range(-1, ROUNDS):
        base = beyond() if beyond is not None else 0.0
        for name, way in ways.items():
            took = way() - base
            if number >= 0:
                found[name].append(took)
        plain.append(base)
    told = f"{median(plain):.0f} ms by Compose alone" if beyond is not None else ""
    return [
        Figure(
            name=what if name == OURS else f"  the same by {name}",
            value=median(times),
            unit="ms",
            bar=bar if name == OURS else None,
            theirs=told,
            runs=ROUNDS,
        )
        for name, times in found.items()
    ]


def _timed(dmrc: Dmrc, *arguments: str, cwd: Path | None = None) -> Callable[[], float]:
    def once() -> float:
        began = time.perf_counter()
        dmrc.ok(*arguments, cwd=cwd)
        return (time.perf_counter() - began) * 1000

    return once


def _compose(engine: DockerEngine, directory: Path) -> Callable[[], float]:
    """Return how to have Compose look at the same containers: with the file that dmrc lays over the project's own."""
    override = directory.parent / "projects" / directory.name / "override.yaml"
    argv = ["docker", "compose", "-f", "compose.yaml", "-f", str(override), "up", "--detach"]

    def once() -> float:
        began = time.perf_counter()
        environment = {**os.environ, **engine.environment}
        subprocess.run(argv, cwd=directory, env=environment, check=True, capture_output=True)
        return (time.perf_counter() - began) * 1000

    return once


@contextmanager
def _ready(dmrc: Dmrc, engine: DockerEngine, image: str, number: int) -> Iterator[Path]:
    """Have a project up until the block ends, and yield its directory."""
    dmrc.environment |= engine.environment
    dmrc.ok("package", "--gguf", write_tiny_llama(dmrc.home / "tiny.gguf"), _MODEL)
    directory = dmrc.home / f"ready{number}"
    directory.mkdir()
    (directory / "compose.yaml").write_text(_COMPOSE.format(number=number, image=image, model=_MODEL))
    dmrc.ok("up", "--detach", cwd=directory)
    try:
        yield directory
    finally:
        dmrc.ok("down", "--", "--timeout", "0", cwd=directory)
