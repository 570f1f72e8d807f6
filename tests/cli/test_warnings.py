"""What a person is told beside the result: Compose's warnings, a context that is cut, one size of a model (#16, A6)."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
import yaml

from tests.dmrc_command import Dmrc
from tests.groups import compose_binary
from tests.tiny_gguf import write_tiny_llama


def _write(directory: Path, size: int = 256, name: str = "compose.yaml") -> None:
    services = {"app": {"image": "x${IMAGE_OF_NOBODY}", "models": ["llm"]}}
    document = {"name": "shop", "services": services, "models": {"llm": {"model": "me/tiny", "context_size": size}}}
    (directory / name).write_text(yaml.safe_dump(document))


@pytest.mark.compose
def test_compose_warnings_are_passed_on_once(dmrc: Dmrc, tmp_path: Path) -> None:
    _write(tmp_path)
    _write(tmp_path, name="docker-compose.yml")
    path = f"{(compose_binary() or tmp_path).parent}:{os.environ['PATH']}"

    said = dmrc.run("config", cwd=tmp_path, env={"PATH": path}).stderr

    assert said.count('The "IMAGE_OF_NOBODY" variable is not set. Defaulting to a blank string.') == 1
    assert said.count("Found multiple config files with supported names: ") == 1
    assert f"Using {tmp_path}/compose.yaml\n" in said


@pytest.mark.parametrize(("size", "is_cut"), [(100_000_000, True), (2048, False), (2049, True)])
def test_a_context_above_what_the_model_was_trained_for_is_said(
    dmrc: Dmrc, tmp_path: Path, size: int, is_cut: bool
) -> None:
    dmrc.ok("package", "--gguf", write_tiny_llama(tmp_path / "t.gguf", context_length=2048), "me/tiny")
    _write(tmp_path, size)

    said = dmrc.run("config", cwd=tmp_path, env={"IMAGE_OF_NOBODY": "x"}).stderr

    assert (f"llm: context_size {size} is cut to 2048, what me/tiny was trained for\n" in said) is is_cut


def test_a_model_has_one_size_everywhere(dmrc: Dmrc, tmp_path: Path) -> None:
    dmrc.ok("package", "--gguf", write_tiny_llama(tmp_path / "t.gguf"), "me/tiny")

    size = json.loads(dmrc.ok("inspect", "me/tiny"))["config"]["size"]

    assert size.endswith(" kB")
    for command in (["list"], ["list", "--json"], ["list", "--openai"], ["show", "me/tiny"]):
        assert size in dmrc.ok(*command)
