"""What is on a graphics card is shown by every door alike, on a card of limited memory."""

from __future__ import annotations

import json
import urllib.request
from collections.abc import Callable
from pathlib import Path

import ollama
import pytest
from prometheus_client.parser import text_string_to_metric_families

from tests.cli.refusals import write_program
from tests.dmrc_command import Dmrc
from tests.tiny_gguf import write_tiny_llama
from tests.vulkan import VulkanServer

_MODEL = "local/tiny"
_COMPOSE = f"""
name: shop
services:
  web: {{image: none, models: [llm]}}
models:
  llm: {{model: {_MODEL}, context_size: 100000, x-dmrc: {{parallel: 1}}}}
"""


@pytest.fixture
def carded(dmrc: Dmrc, vulkan_server: VulkanServer, card_of: Callable[[int], dict[str, str]], tmp_path: Path) -> Dmrc:
    """A dmrc on a machine with a card of 300 MiB, and a model whose context takes 2 KiB a token of it."""
    dmrc.environment |= {"DMRC_LLAMA_SERVER": str(vulkan_server.program), **card_of(300)}
    gguf = write_tiny_llama(tmp_path / "tiny.gguf", context_length=1 << 17, block_count=16)
    dmrc.ok("package", "--gguf", gguf, "--context-size", "50000", _MODEL)
    dmrc.ok("configure", _MODEL, "--", "--parallel", "1", "--n-predict", "4")
    return dmrc


def _runner(dmrc: Dmrc) -> dict[str, object]:
    (runner,) = json.loads(dmrc.ok("ps", "--json"))
    assert isinstance(runner, dict)
    return runner


def _samples(dmrc: Dmrc) -> dict[str, float]:
    with urllib.request.urlopen(f"http://127.0.0.1:{dmrc.port}/metrics", timeout=30) as answer:
        families = text_string_to_metric_families(answer.read().decode())
        return {one.name: one.value for family in families for one in family.samples if "device" in one.labels}


def test_a_model_on_a_card_is_shown_so_by_every_door(carded: Dmrc) -> None:
    ran = carded.run("run", _MODEL, "Hi")

    runner, samples = _runner(carded), _samples(carded)
    (running,) = ollama.Client(host=f"http://127.0.0.1:{carded.port}").ps().models

    assert (ran.returncode, ran.stderr) == (0, "")
    assert (runner["processor"], runner["notice"]) == ("100% GPU", None)
    (device,) = json.loads(json.dumps(runner["devices"]))
    assert device["name"] == "Vulkan0"
    assert "llvmpipe" in device["description"]
    assert 90 << 20 < device["memory_bytes"] == runner["memory_device_bytes"] < 172 << 20
    assert running.size_vram == running.size == device["memory_bytes"]
    assert samples["dmrc_device_memory_bytes"] == 300 << 20
    assert samples["dmrc_device_memory_free_bytes"] > 250 << 20  # before the load
    assert samples["dmrc_runner_device_memory_bytes"] >= device["memory_bytes"]
    row = carded.ok("ps").splitlines()[1]
    assert "100% GPU" in row
    assert " MB on Vulkan0" in row


def test_a_model_that_a_card_holds_in_part_is_told_where_it_is_loaded_and_shown(carded: Dmrc, tmp_path: Path) -> None:
    (tmp_path / "compose.yaml").write_text(_COMPOSE)
    carded.ok("configure", _MODEL, "--context-size", "100000", "--", "--parallel", "1", "--n-predict", "4")
    ran, again = carded.run("run", _MODEL, "Hi"), carded.run("run", _MODEL, "Hi")
    loads_by_run = str(_runner(carded)["notice"])
    carded.ok("unload", "--all")
    loaded = carded.run("exec", "web", "--", "true", cwd=tmp_path)

    runner = _runner(carded)
    (running,) = ollama.Client(host=f"http://127.0.0.1:{carded.port}").ps().models

    notice = str(runner["notice"])
    assert "is computed in part by the processor" in notice
    assert notice in loaded.stderr
    assert (ran.stderr, again.stderr) == (f"{loads_by_run}\n", ""), "where it is loaded, and only there"
    assert notice in carded.run("ps").stderr
    assert "is computed in part by the processor" in (carded.home / "logs" / "daemon.log").read_text()
    processor = str(runner["processor"])
    share = int(processor.partition("%/")[2].partition("%")[0])
    assert processor == f"{100 - share}%/{share}% CPU/GPU"
    assert 0 < share < 100
    assert running.size_vram is not None
    assert running.size is not None
    assert round(100 * running.size_vram / running.size) == share


def test_a_build_that_dies_when_it_is_asked_computes_on_the_processor_and_takes_nothing_uncounted(
    carded: Dmrc, vulkan_server: VulkanServer, tmp_path: Path
) -> None:
    told = tmp_path / "told"
    script = (
        f'case "$*" in *--list-devices*) kill -ILL $$;; esac\necho "$@" > {told}\nexec {vulkan_server.program} "$@"'
    )
    programs = write_program(tmp_path / "dying", "llama-server", script)
    carded.environment["DMRC_LLAMA_SERVER"] = str(programs / "llama-server")
    carded.ok("stop-runner")  # the daemon that configured it has the other one

    ran = carded.run("run", _MODEL, "Hi")

    runner = _runner(carded)
    assert ran.returncode == 0
    assert runner["processor"] == "100% CPU"
    assert "--device none" in told.read_text()
    (line,) = [line for line in (carded.home / "logs" / "daemon.log").read_text().splitlines() if "WARNING" in line]
    assert "does not list its devices: died: it was built for another processor" in line
