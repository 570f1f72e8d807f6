"""`dmrc pull` of 1 GiB from a real registry: against skopeo, over a slow line against one stream, and its memory."""

from __future__ import annotations

import contextlib
import os
import random
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import median

import psutil

from tests.bench._slow_line import BYTES_PER_SECOND, ROUND_TRIP_SECONDS
from tests.bench.figure import Figure, LeftOut
from tests.dmrc_command import Dmrc, temporary_dmrc
from tests.registry import RegistryServer

LAYER_BYTES = 1 << 30
PAIRS = 5
SLOW_PAIRS = 3
_CHUNK_BYTES = 16 << 20
_SAMPLE_SECONDS = 0.05


@dataclass(frozen=True)
class _Run:
    """What one program took."""

    seconds: float
    peak_bytes: int


def measure() -> list[Figure]:
    """Return the figures of a pull."""
    if missing := [name for name in ("docker-registry", "skopeo") if shutil.which(name) is None]:
        raise LeftOut(f"no {', '.join(missing)}")
    with tempfile.TemporaryDirectory(prefix="dmrc-bench-") as directory, temporary_dmrc() as dmrc:
        registry = RegistryServer(Path(directory) / "registry")
        registry.start()
        try:
            registry.push_model("ai/large:latest", _layer(Path(directory) / "layer"))
            copy = Path(directory) / "copy"
            return [*_fast(registry, dmrc, copy), _slow(registry, dmrc, copy)]
        finally:
            registry.stop()


def _fast(registry: RegistryServer, dmrc: Dmrc, copy: Path) -> list[Figure]:
    ours, theirs = _pairs(PAIRS, lambda: _pull(dmrc, registry.address), lambda: _skopeo(registry.address, copy))
    version = subprocess.run(["skopeo", "--version"], capture_output=True, text=True, check=True).stdout.split()[-1]
    return [
        Figure(
            name="pull of 1 GiB against skopeo copy",
            value=_ratio(ours, theirs),
            unit="×",
            bar=0.6,
            ours=_seconds(ours),
            theirs=f"{_seconds(theirs)} (skopeo {version})",
            runs=PAIRS,
        ),
        Figure(
            name="resident memory of a pull of 1 GiB, at its peak",
            value=max(run.peak_bytes for run in ours) / (1 << 20),
            unit="MiB",
            bar=150,
            theirs=f"{max(run.peak_bytes for run in theirs) >> 20} MiB (skopeo {version})",
            runs=PAIRS,
        ),
    ]


def _slow(registry: RegistryServer, dmrc: Dmrc, copy: Path) -> Figure:
    # The kernel sizes the window of a single stream by the real round trip, which is none here: it is not held to it.
    with _slow_line(registry.address, "--window") as narrow, _slow_line(registry.address) as wide:
        ours, theirs = _pairs(SLOW_PAIRS, lambda: _pull(dmrc, narrow), lambda: _skopeo(wide, copy))
    return Figure(
        name=f"pull with {ROUND_TRIP_SECONDS * 1000:.0f} ms and {BYTES_PER_SECOND / 1e6:.0f} MB/s a connection, "
        "speed against one stream",
        value=1 / _ratio(ours, theirs),
        unit="×",
        bar=3,
        better="higher",
        ours=_seconds(ours),
        theirs=f"{_seconds(theirs)} (skopeo copy)",
        runs=SLOW_PAIRS,
    )


def _pairs(count: int, ours: Callable[[], _Run], theirs: Callable[[], _Run]) -> tuple[list[_Run], list[_Run]]:
    """Run both in turn, each first in every second pair."""
    mine: list[_Run] = []
    others: list[_Run] = []
    for number in range(count):
        for run, results in ((ours, mine), (theirs, others))[:: 1 if number % 2 else -1]:
            results.append(run())
    return mine, others


def _pull(dmrc: Dmrc, address: str) -> _Run:
    shutil.rmtree(dmrc.home / "store", ignore_errors=True)
    return _run([dmrc.program, "pull", f"{address}/ai/large"], dmrc.environment)


def _skopeo(address: str, copy: Path) -> _Run:
    shutil.rmtree(copy, ignore_errors=True)
    source = f"docker://{address}/ai/large:latest"
    options = ["--insecure-policy", "copy", "-q", "--src-tls-verify=false"]
    return _run(["skopeo", *options, source, f"oci:{copy}:large"], dict(os.environ))


def _run(command: list[str | Path], environment: dict[str, str]) -> _Run:
    os.sync()  # what the run before left to be written is not this one's work
    started, peak_bytes = time.monotonic(), 0
    process = psutil.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    while (code := _code(process)) is None:
        peak_bytes = max(peak_bytes, _resident_bytes(process))
    seconds = time.monotonic() - started
    assert code == 0, f"{command[0]} exits with {code}"
    return _Run(seconds, peak_bytes)


def _code(process: psutil.Popen) -> int | None:
    with contextlib.suppress(psutil.TimeoutExpired):
        return int(process.wait(timeout=_SAMPLE_SECONDS))
    return None


def _resident_bytes(process: psutil.Popen) -> int:
    """Return what the process and its children have in memory."""
    total = 0
    with contextlib.suppress(psutil.NoSuchProcess):
        for one in (process, *process.children(recursive=True)):
            total += one.memory_info().rss
    return total


@contextmanager
def _slow_line(address: str, *options: str) -> Iterator[str]:
    command = [sys.executable, "-m", "tests.bench._slow_line", address, *options]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            yield process.stdout.readline().strip()
        finally:
            process.kill()


def _layer(path: Path) -> Path:
    numbers = random.Random(1)
    with path.open("wb") as stream:
        for _ in range(LAYER_BYTES // _CHUNK_BYTES):
            stream.write(numbers.randbytes(_CHUNK_BYTES))
    return path


def _ratio(ours: list[_Run], theirs: list[_Run]) -> float:
    return median(mine.seconds / other.seconds for mine, other in zip(ours, theirs, strict=True))


def _seconds(runs: list[_Run]) -> str:
    return f"{median(run.seconds for run in runs):.2f} s"
