"""The table of what runs, where a graphics card computes."""

import re

import pytest

from dmrc.engines.devices import Device
from dmrc.ui.models import RunningTable
from dmrc.ui.rendering import render

NOTICE = "model llm runs 48%/52% CPU/GPU: Vulkan0 has 1.2 GB free, it needs 2.0 GB"
_RUNNER = {
    "id": "r1",
    "model": "docker.io/ai/tiny:latest",
    "name": "ai/tiny",
    "engine": "llama.cpp",
    "state": "ready",
    "processor": "48%/52% CPU/GPU",
    "devices": [{"name": "Vulkan0", "description": "a <card>", "memory_bytes": 1_700_000_000}],
    "memory_resident_bytes": 355_000_000,
    "memory_estimated_bytes": 400_000_000,
    "context_size": 64,
    "in_use": 0,
    "parallel": 1,
    "waiting": 0,
    "upstream": None,
    "replicas": [],
    "keep_alive_seconds": -1,
    "expires_at": None,
    "notice": NOTICE,
}


def _shown(running: RunningTable) -> str:
    return re.sub(r"\s*<[^>]*>\s*", " | ", render("running.html", running=running))


def test_a_runner_has_where_it_computes_the_memory_of_each_card_and_why_it_is_split() -> None:
    shown = _shown(RunningTable([_RUNNER], [(Device("Vulkan0", "a <card>", 2_000_000_000, 300_000_000), 90.0)], 100.0))

    assert "48%/52% CPU/GPU" in shown
    assert re.search(r"355\.00 MB \| [| ]*1\.70 GB on Vulkan0", shown)
    assert NOTICE in shown
    assert "Vulkan0: a &lt;card&gt;, 2.00 GB, of which 300.00 MB were free before the last load, 10 s ago" in shown


@pytest.mark.parametrize("processor", ["100% CPU", None])
def test_without_a_card_nothing_is_said_of_one(processor: str | None) -> None:
    shown = _shown(RunningTable([{**_RUNNER, "processor": processor, "devices": [], "notice": None}], [], 100.0))

    assert (processor or "| - |") in shown
    assert " on " not in shown
    assert "were free" not in shown


def test_what_is_not_known_of_a_server_elsewhere_is_a_dash() -> None:
    unknown = dict.fromkeys(("processor", "memory_resident_bytes", "memory_estimated_bytes", "context_size", "notice"))
    upstream = {**_RUNNER, **unknown, "devices": [], "upstream": "http://far/v1"}
    shown = _shown(RunningTable([upstream], [], 100.0))

    assert "None" not in shown
    assert "Log" not in shown
    assert "Log" in _shown(RunningTable([_RUNNER], [], 100.0))
    assert "0 B" not in shown
    assert len(re.findall(r"\| - \|", shown)) == 3
