"""`dmrc ps` and `docker model ps` of a runner as the daemon describes it, where a graphics card computes."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, cast

import pytest
from click.testing import CliRunner, Result

from dmrc.cli.app import App
from dmrc.cli.main import create_cli
from dmrc.hooks.plugins import Plugins
from dmrc.settings import Settings

NOTICE = "model 'ai/tiny' runs 48%/52% CPU/GPU: Vulkan0 has 1.20 GB free, it needs 2.00 GB"
ON_CPU: Mapping[str, object] = {
    "id": "r1",
    "model": "docker.io/ai/tiny:latest",
    "engine": "llama.cpp",
    "upstream": None,
    "mode": "completion",
    "state": "ready",
    "context_size": 64,
    "in_use": 0,
    "parallel": 1,
    "waiting": 0,
    "memory_estimated_bytes": 400_000_000,
    "memory_resident_bytes": 355_000_000,
    "memory_device_bytes": 0,
    "devices": [],
    "processor": "100% CPU",
    "notice": None,
    "prompt_cache_bytes": 0,
    "began_at": 1.0,
    "expires_at": None,
    "keep_alive_seconds": -1,
}
SPLIT = {
    **ON_CPU,
    "processor": "48%/52% CPU/GPU",
    "memory_device_bytes": 3_300_000_000,
    "devices": [
        {"name": "CUDA0", "description": "a card", "memory_bytes": 1_700_000_000},
        {"name": "CUDA1", "description": "a card", "memory_bytes": 1_600_000_000},
    ],
    "notice": NOTICE,
}


class _Daemon:
    """Answers as the daemon's client does."""

    def __init__(self, runners: Sequence[Mapping[str, object]]) -> None:
        self._runners = runners

    def runners(self) -> Sequence[Mapping[str, object]]:
        return self._runners

    def status(self) -> None:
        return None


def _ps(home: Path, *runners: Mapping[str, object], json_too: bool = False) -> Result:
    plugins = Plugins(())
    app = App(Settings(home=home, plugins=()), plugins)
    cast(Any, app).daemon = _Daemon(runners)
    words = ["ps", "--json"] if json_too else ["ps"]
    return CliRunner().invoke(create_cli(plugins), words, obj=app, catch_exceptions=False)


@pytest.mark.parametrize(
    ("runner", "cells"),
    [
        (ON_CPU, ["0", "100% CPU", "355.00 MB", "-", "for ever"]),
        ({**ON_CPU, "processor": None}, ["0", "-", "355.00 MB", "-", "for ever"]),
        (SPLIT, ["0", "48%/52% CPU/GPU", "355.00 MB + 1.70 GB on CUDA0 + 1.60 GB on CUDA1", "-", "for ever"]),
    ],
)
def test_each_runner_has_its_processor_and_the_memory_of_each_card(
    tmp_path: Path, runner: Mapping[str, object], cells: list[str]
) -> None:
    header, row = _ps(tmp_path, runner).stdout.splitlines()

    names = ["WAITING", "PROCESSOR", "MEMORY", "PROMPT CACHE", "UNTIL"]
    places = [header.index(name) for name in names]
    assert [row[begin:end].strip() for begin, end in zip(places, [*places[1:], None], strict=True)] == cells


def test_a_model_that_is_split_is_told_in_one_line_beside_the_table(tmp_path: Path) -> None:
    assert _ps(tmp_path, SPLIT, ON_CPU).stderr == f"{NOTICE}\n"
    assert _ps(tmp_path, ON_CPU).stderr == ""


def test_json_has_it_all(tmp_path: Path) -> None:
    assert json.loads(_ps(tmp_path, SPLIT, json_too=True).stdout) == [SPLIT]
