"""The table of what runs, where a graphics card computes."""

import re

import pytest

from dmrc.ui.model_views import RunningTable, Space
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
    "memory_parts": {"weights": 300_000_000, "context": 50_000_000, "buffers": 50_000_000, "prompt_cache": 0},
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
    shown = _shown(RunningTable([_RUNNER], (), 100.0))

    assert "48%/52% CPU/GPU" in shown
    assert re.search(r"355\.00 MB \| [| ]*1\.70 GB on Vulkan0", shown)
    assert "Stays loaded" in shown
    assert NOTICE in shown


def test_the_bar_of_a_runner_shows_what_its_memory_is_for_and_leaves_out_what_is_empty() -> None:
    html = render("running.html", running=RunningTable([_RUNNER], (), 100.0))

    assert 'aria-label="weights 300.00 MB, context 50.00 MB, buffers 50.00 MB"' in html
    assert '<rect class="weights" x="0" width="750.0"' in html
    assert "prompt cache: " not in html


@pytest.mark.parametrize("processor", ["100% CPU", None])
def test_without_a_card_nothing_is_said_of_one(processor: str | None) -> None:
    shown = _shown(RunningTable([{**_RUNNER, "processor": processor, "devices": [], "notice": None}], (), 100.0))

    assert processor is None or processor in shown
    assert "None" not in shown
    assert " on " not in shown


def test_what_is_not_known_of_a_server_elsewhere_is_an_empty_cell() -> None:
    unknown = dict.fromkeys(
        ("processor", "memory_resident_bytes", "memory_estimated_bytes", "context_size", "notice", "parallel")
    )
    upstream = {**_RUNNER, **unknown, "devices": [], "memory_parts": {}, "upstream": "http://far/v1"}
    shown = _shown(RunningTable([upstream], (), 100.0))

    for absent in ("None", "Log", "0 B", " 0 ", "weights", "| - |"):
        assert absent not in shown
    assert "Log" in _shown(RunningTable([_RUNNER], (), 100.0))


@pytest.mark.parametrize(
    ("runner", "says"),
    [
        ({"keep_alive_seconds": 300, "expires_at": 358.0}, "Unloads in 4 min 18 s"),
        ({"keep_alive_seconds": 300, "expires_at": 90.0}, "Unloads now"),
        ({"keep_alive_seconds": 300, "expires_at": None}, ""),
        ({"state": "starting", "began_at": 97.7}, "Loading for 2.30 s"),
    ],
)
def test_a_runner_says_what_happens_to_it_next(runner: dict[str, object], says: str) -> None:
    assert RunningTable([], (), 100.0).leaves({**_RUNNER, **runner}) == says


def test_memory_and_disk_say_who_has_how_much() -> None:
    html = render("spaces.html", spaces=[Space("Vulkan0", "a <card>", 1000, 300, 200, "models")])

    assert "a &lt;card&gt;" in html
    assert 'aria-label="Vulkan0: models 200 B, others 500 B, free 300 B of 1.00 kB"' in html
    assert "300 B free" in html
