"""`dmrc engine`: the builds of llama.cpp."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.dmrc_command import Dmrc


def _script(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)
    return path


@pytest.mark.engine
def test_each_build_is_listed_with_its_devices_and_one_that_dies_with_that(dmrc: Dmrc, tmp_path: Path) -> None:
    listed = "echo 'Available devices:'; echo '  CUDA0: NVIDIA Q1 (24080 MiB, 23604 MiB free)'"
    listed += "; echo '  CUDA1: NVIDIA Q1 (24080 MiB, 10 MiB free)'"
    seeing = _script(tmp_path / "seeing", f'[ $1 = --version ] && echo "version: 7 (abc)" || {{ {listed}; }}')
    dying = _script(tmp_path / "dying", "kill -ILL $$")

    table = dmrc.ok("engine", "list", env={"DMRC_LLAMA_SERVER": str(seeing)}).splitlines()
    first, second = json.loads(dmrc.ok("engine", "list", "--json", env={"DMRC_LLAMA_SERVER": str(seeing)}))
    died = dmrc.ok("engine", "list", env={"DMRC_LLAMA_SERVER": str(dying)}).splitlines()

    assert table[0].split() == ["NAME", "VERSION", "DEVICE", "MEMORY", "FREE"]
    assert " ".join(table[1].split()) == "llama-server * 7 (abc) CUDA0: NVIDIA Q1 25.25 GB 24.75 GB"
    assert table[2].split() == ["CUDA1:", "NVIDIA", "Q1", "25.25", "GB", "10.49", "MB"]
    assert table[3].startswith("xllamacpp ") and "none; the processor" in table[3]
    assert (first["name"], first["in_use"], first["kind"], first["version"], first["path"]) == (
        "llama-server",
        True,
        "llama-server",
        "7 (abc)",
        str(seeing),
    )
    assert first["devices"][1] == {
        "name": "CUDA1",
        "description": "NVIDIA Q1",
        "total_bytes": 24080 << 20,
        "free_bytes": 10 << 20,
    }
    assert (second["name"], second["in_use"], second["failure"], second["devices"]) == ("xllamacpp", False, None, [])
    assert second["size_bytes"] > 10_000_000
    assert "died: it was built for another processor" in died[1]
    assert dmrc.processes() == []
