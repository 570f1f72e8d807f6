"""A push of one layer of 1 GiB into an empty registry on loopback, against skopeo."""

from __future__ import annotations

import os
import shutil
import statistics
import subprocess
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from dmrc.artifact import CONFIG, GGUF, Descriptor, ModelConfig, build_manifest, write_config
from dmrc.reference import Reference
from dmrc.store import Store
from tests.bench.figure import Figure, LeftOut
from tests.dmrc_command import Dmrc, temporary_dmrc
from tests.registry import RegistryServer

_BYTES = 1 << 30
_PIECE = 1 << 20
_PAIRS = 5


@dataclass(frozen=True)
class _Run:
    """One push."""

    seconds: float
    """Wall-clock time of the command."""
    cpu_seconds: float
    """CPU time of the command."""


def measure() -> list[Figure]:
    """Push in turn, each time into a new registry, so that there is nothing to leave out or to mount."""
    if missing := [name for name in ("docker-registry", "skopeo") if shutil.which(name) is None]:
        raise LeftOut(f"no {' and no '.join(missing)}")
    with temporary_dmrc() as dmrc:
        store = Store(dmrc.home / "store")
        _write_model(store)
        pairs = [_pair(dmrc, store, ours_first=number % 2 == 0) for number in range(_PAIRS)]
    ours, theirs = zip(*pairs, strict=True)
    return [
        Figure(
            name="push of 1 GiB to a loopback registry, against skopeo copy",
            value=statistics.median(mine.seconds / other.seconds for mine, other in pairs),
            unit="×",
            bar=1.0,
            ours=f"{statistics.median(run.seconds for run in ours):.2f} s",
            theirs=f"{statistics.median(run.seconds for run in theirs):.2f} s ({_version()})",
            runs=_PAIRS,
        ),
        Figure(
            name="CPU time of that push, against skopeo copy",
            value=statistics.median(mine.cpu_seconds / other.cpu_seconds for mine, other in pairs),
            unit="×",
            ours=f"{statistics.median(run.cpu_seconds for run in ours):.2f} s",
            theirs=f"{statistics.median(run.cpu_seconds for run in theirs):.2f} s",
            runs=_PAIRS,
        ),
    ]


def _write_model(store: Store) -> None:
    """Store a model with one large layer of noise, which nothing can make smaller."""
    with store.write_blob(size_bytes=_BYTES) as weights:
        for _ in range(_BYTES // _PIECE):
            weights.write(os.urandom(_PIECE))
    layer = Descriptor(GGUF, str(weights.digest), _BYTES)
    data = write_config(ModelConfig(format="gguf"), [layer])
    with store.write_blob() as config:
        config.write(data)
    manifest = build_manifest(Descriptor(CONFIG, str(config.digest), len(data)), [layer])
    store.add(manifest, [Reference.parse("bench/noise")])


def _pair(dmrc: Dmrc, store: Store, *, ours_first: bool) -> tuple[_Run, _Run]:
    if ours_first:
        ours = _push(dmrc, store, by_skopeo=False)
        return ours, _push(dmrc, store, by_skopeo=True)
    theirs = _push(dmrc, store, by_skopeo=True)
    return _push(dmrc, store, by_skopeo=False), theirs


def _push(dmrc: Dmrc, store: Store, *, by_skopeo: bool) -> _Run:
    """Push into a new registry, whose port no client has a memory of."""
    root = Path(tempfile.mkdtemp(prefix="dmrc-bench-"))
    registry = RegistryServer(root)
    try:
        registry.start()
        name = f"{registry.address}/bench/noise:latest"
        store.tag(store.resolve("bench/noise"), Reference.parse(name))
        command = [str(dmrc.program), "push", name]
        if by_skopeo:
            # As it is: without this, skopeo may compress a layer on the way.
            options = ["--quiet", "--preserve-digests", "--dest-tls-verify=false"]
            command = ["skopeo", "copy", *options, f"oci:{store.root}:{name}", f"docker://{name}"]
        run = _timed(command, dmrc)
        store.remove(name)
        return run
    finally:
        registry.stop()
        shutil.rmtree(root)
        os.sync()


def _timed(command: list[str], dmrc: Dmrc) -> _Run:
    started = time.monotonic()
    process = subprocess.Popen(command, env=dmrc.environment, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    assert process.stderr is not None
    said = process.stderr.read()
    _, status, usage = os.wait4(process.pid, 0)
    seconds = time.monotonic() - started
    process.returncode = os.waitstatus_to_exitcode(status)
    process.stderr.close()
    assert process.returncode == 0, said.decode()
    return _Run(seconds, usage.ru_utime + usage.ru_stime)


def _version() -> str:
    words = subprocess.run(["skopeo", "--version"], capture_output=True, text=True, check=True).stdout.split()
    return f"skopeo {words[2]}"
