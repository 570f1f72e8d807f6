"""The shapes of `list`, `inspect` and `show`, held against files: programs written for Docker Model Runner read them.

Keys and layout are those of `docker model`; IDs and times stand as `<id>`, `<created>`, `<pulled>` and `<ago>`.
"""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from tests.dmrc_command import Dmrc, temporary_dmrc
from tests.tiny_gguf import write_tiny_llama

GOLDEN = Path(__file__).parent / "golden"
CASES = {
    "list.txt": ["list"],
    "list.json": ["list", "--json"],
    "list-openai.json": ["list", "--openai"],
    "inspect.json": ["inspect", "me/tiny"],
    "inspect-openai.json": ["inspect", "--openai", "me/tiny:v1"],
    "show.txt": ["show", "cncf"],
}


@pytest.fixture(scope="module")
def packaged(tmp_path_factory: pytest.TempPathFactory, needs_process: None) -> dict[str, str]:
    """What the commands print of a store with a model of two names and a model in ModelPack's form."""
    directory = tmp_path_factory.mktemp("gguf")
    template = directory / "chat.jinja"
    template.write_text("{{ messages[0].content }}")
    gguf = write_tiny_llama(directory / "tiny.gguf", chat_template="{# long #}" * 30)
    with temporary_dmrc() as dmrc:
        dmrc.ok("package", "--gguf", gguf, "--context-size", "128", "me/tiny")
        dmrc.ok("tag", "me/tiny", "me/tiny:v1")
        dmrc.ok("package", "--from", "me/tiny", "--format", "cncf", "--chat-template", template, "cncf")
        return {name: dmrc.ok(*arguments) for name, arguments in CASES.items()}


def _steady(text: str) -> str:
    text = re.sub(r'"created": \d+', '"created": "<created>"', text)
    text = re.sub(r"sha256:[0-9a-f]{64}", "sha256:<id>", text)
    text = re.sub(r"\b[0-9a-f]{12}\b", "<short id>  ", text)
    text = re.sub(r"\d{4}-\d\d-\d\dT\S+ \(.* ago\)", "<pulled>", text)
    text = re.sub(r"CREATED +", "CREATED        ", text)  # as wide as the longest of the times below it
    return re.sub(r"\d+ seconds? ago {0,4}", "<ago>", text)


@pytest.mark.parametrize("name", CASES)
def test_what_is_printed_has_the_shape_that_others_read(packaged: dict[str, str], name: str) -> None:
    assert _steady(packaged[name]) == (GOLDEN / name).read_text()


def test_the_keys_are_those_of_docker_model_runner(packaged: dict[str, str]) -> None:
    """Source: Model in pkg/inference/models/api.go of docker/model-runner, and Config in pkg/distribution/types."""
    config_keys = {"format", "quantization", "parameters", "architecture", "size", "gguf", "context_size"}

    for model in json.loads(packaged["list.json"]):
        assert set(model) == {"id", "tags", "created", "config"}
        assert set(model["config"]) <= config_keys
    (first, *_) = json.loads(packaged["list-openai.json"])["data"]
    assert set(first) == {"id", "object", "created", "owned_by", "dmr"}
    assert set(first["dmr"]) == {"context_window", "architecture", "parameters", "quantization", "size"}


def test_inspect_takes_json_like_its_neighbours(dmrc: Dmrc, tmp_path: Path) -> None:
    dmrc.ok("package", "--gguf", write_tiny_llama(tmp_path / "tiny.gguf"), "me/tiny")

    assert dmrc.ok("inspect", "--json", "me/tiny") == dmrc.ok("inspect", "me/tiny")


@pytest.mark.parametrize(
    "command", ["pull", "push", "package", "tag", "rm", "list", "inspect", "show", "search", "verify", "prune", "df"]
)
def test_every_command_for_models_offers_json(dmrc: Dmrc, command: str) -> None:
    assert "--json" in dmrc.ok(command, "--help")


def test_an_empty_store_is_an_empty_list(dmrc: Dmrc) -> None:
    assert dmrc.ok("list", "--json") == "[]\n"
    assert json.loads(dmrc.ok("list", "--openai")) == {"object": "list", "data": []}
    assert dmrc.ok("list", "--json", "*") == "[]\n"
