"""Which format of a model a project gets: by the engine of its entry, and refused by name where that loads another."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.request import urlopen

import httpx
import pytest

from tests.dmrc_command import Dmrc
from tests.installed_plugins import install_plugins
from tests.registry import RegistryServer
from tests.sources.hugging_face import Repository, hugging_face
from tests.tiny_gguf import write_tiny_llama
from tests.tiny_safetensors import write_tiny_llama_directory, write_tiny_lora_directory

NAME = "hf.co/org/m"


@pytest.fixture
def both(dmrc: Dmrc, tmp_path: Path) -> Iterator[Dmrc]:
    """A dmrc with an engine for safetensors, and a repository that has a model in both formats."""
    install_plugins(dmrc, toy="tests.engines.toy")
    directory = write_tiny_llama_directory(tmp_path / "m")
    files = {path.name: path.read_bytes() for path in directory.iterdir()}
    files["m-Q8_0.gguf"] = write_tiny_llama(tmp_path / "m.gguf").read_bytes()
    with hugging_face({"org/m": Repository(files)}) as server:
        dmrc.environment |= {"HF_ENDPOINT": server.url, "HF_HOME": str(dmrc.home / "hf"), "HF_TOKEN": ""}
        yield dmrc


def write(dmrc: Dmrc, **models: str) -> None:
    entries = "\n".join(f"  {key}: {entry}" for key, entry in models.items())
    keys = ", ".join(models)
    (dmrc.home / "compose.yaml").write_text(
        f"name: p\nservices: {{app: {{image: none, models: [{keys}]}}}}\nmodels:\n{entries}\n"
    )


def formats(dmrc: Dmrc) -> dict[str, str]:
    return {tag: each["config"]["format"] for each in json.loads(dmrc.ok("list", "--json")) for tag in each["tags"]}


def test_the_engine_of_an_entry_says_which_format_is_pulled(both: Dmrc) -> None:
    write(both, llm=f"{{model: '{NAME}', x-dmrc: {{engine: toy}}}}")

    both.ok("exec", "app", "--", "true", cwd=both.home)

    assert formats(both) == {"huggingface.co/org/m:latest": "safetensors"}
    assert json.loads(both.ok("ps", "--json"))[0]["engine"] == "toy"


def test_without_an_engine_gguf_is_pulled(both: Dmrc) -> None:
    write(both, llm=f"{{model: '{NAME}', x-dmrc: {{ready: pulled}}}}")

    both.ok("exec", "app", "--", "true", cwd=both.home)

    assert formats(both) == {"huggingface.co/org/m:latest": "gguf"}


def test_a_model_that_is_here_keeps_its_format_and_another_name_has_the_other(both: Dmrc) -> None:
    both.ok("pull", NAME)
    write(both, llm=f"{{model: '{NAME}', x-dmrc: {{engine: toy}}}}")

    refused = both.run("exec", "app", "--", "true", cwd=both.home)

    assert refused.returncode == 2
    assert (
        f"models.llm: model '{NAME}' is in the format 'gguf', which engine 'toy' does not serve. "
        f"Name one that does: x-dmrc: {{engine: llama.cpp}}. Or name it by its format: {NAME}:safetensors"
    ) in refused.stderr
    assert formats(both) == {"huggingface.co/org/m:latest": "gguf"}

    write(both, llm=f"{{model: '{NAME}:safetensors', x-dmrc: {{engine: toy}}}}")
    both.ok("exec", "app", "--", "true", cwd=both.home)

    assert formats(both) == {
        "huggingface.co/org/m:latest": "gguf",
        "huggingface.co/org/m:safetensors": "safetensors",
    }


def test_one_reference_in_two_formats_is_refused_before_a_pull(both: Dmrc) -> None:
    write(
        both,
        a=f"{{model: '{NAME}', x-dmrc: {{engine: llama.cpp}}}}",
        b=f"{{model: '{NAME}', x-dmrc: {{engine: toy}}}}",
    )

    refused = both.run("config", cwd=both.home)

    assert refused.returncode == 2
    assert (
        f"models.a and models.b want '{NAME}' for the engines 'llama.cpp' and 'toy', which load no common "
        f"format. Name it by its format: {NAME}:safetensors"
    ) in refused.stderr
    assert formats(both) == {}


def test_an_artifact_in_another_format_is_refused_before_its_weights(
    both: Dmrc, registry: RegistryServer, tmp_path: Path
) -> None:
    name = f"{registry.address}/me/tiny"
    both.ok("package", "--safetensors-dir", tmp_path / "m", name, "--push")
    both.ok("rm", name)
    write(both, llm=f"{{model: '{name}', x-dmrc: {{engine: llama.cpp}}}}")

    refused = both.run("exec", "app", "--", "true", cwd=both.home)

    assert refused.returncode == 2
    assert (
        f"models.llm: model '{name}' is in the format 'safetensors', which engine 'llama.cpp' does not serve. "
        "Name one that does: x-dmrc: {engine: toy}"
    ) in refused.stderr
    assert list((both.home / "store/blobs/sha256").glob("*")) == []


def test_a_request_for_a_model_in_another_format_is_refused_with_what_to_do(both: Dmrc, tmp_path: Path) -> None:
    both.ok("package", "--safetensors-dir", tmp_path / "m", "me/tiny")
    both.ok("configure", "me/tiny", "--engine", "llama.cpp")

    refused = both.run("run", "me/tiny", "Hi")

    assert refused.returncode == 5
    assert "is in the format 'safetensors', which engine 'llama.cpp' does not serve. Name one" in refused.stderr


def lora(dmrc: Dmrc, names: str) -> None:
    write(dmrc, llm=f"{{model: me/tiny, x-dmrc: {{engine: toy, lora: {names}}}}}")


def test_a_lora_for_safetensors_is_a_directory_of_the_project_or_a_model(both: Dmrc, tmp_path: Path) -> None:
    both.ok("package", "--safetensors-dir", tmp_path / "m", "me/tiny")
    adapter = write_tiny_lora_directory(both.home / "adapter")
    both.ok("package", "--safetensors-dir", adapter, "me/adapter")

    lora(both, "[./adapter, me/adapter]")
    both.ok("exec", "app", "--", "true", cwd=both.home)
    write_tiny_lora_directory(adapter, seed=7)
    both.ok("exec", "app", "--", "true", cwd=both.home)

    runners = json.loads(both.ok("ps", "--json"))
    assert len({runner["id"] for runner in runners}) == 2, "a changed adapter is another runner"


def test_a_lora_in_another_format_is_refused_by_name(both: Dmrc, tmp_path: Path) -> None:
    both.ok("package", "--safetensors-dir", tmp_path / "m", "me/tiny")
    both.ok("package", "--gguf", tmp_path / "m.gguf", "me/gguf")
    (both.home / "adapter.gguf").write_bytes((tmp_path / "m.gguf").read_bytes())
    write_tiny_lora_directory(both.home / "adapter")

    lora(both, "./adapter.gguf")
    a_file = both.run("exec", "app", "--", "true", cwd=both.home)
    write(both, llm="{model: me/gguf, x-dmrc: {lora: ./adapter}}")
    a_directory = both.run("exec", "app", "--", "true", cwd=both.home)

    assert (a_file.returncode, a_directory.returncode) == (2, 2)
    assert "a model in the format 'safetensors' cannot be loaded with a lora that is a file. Name a lora that is" in (
        a_file.stderr
    )
    assert "a model in the format 'gguf' cannot be loaded with a lora in another format. Name a lora" in (
        a_directory.stderr
    )


def test_a_directory_that_holds_a_link_is_refused(both: Dmrc, tmp_path: Path) -> None:
    both.ok("package", "--safetensors-dir", tmp_path / "m", "me/tiny")
    adapter = write_tiny_lora_directory(both.home / "adapter")
    (adapter / "adapter_config.json").unlink()
    (adapter / "adapter_config.json").symlink_to("/etc/passwd")
    lora(both, "./adapter")

    refused = both.run("config", cwd=both.home)

    assert refused.returncode == 2
    assert "models.llm.x-dmrc.lora: " in refused.stderr
    assert "holds 'adapter_config.json', which is no plain file" in refused.stderr


def test_a_model_of_safetensors_is_told_by_every_route_of_lists(both: Dmrc, tmp_path: Path) -> None:
    both.ok("package", "--safetensors-dir", tmp_path / "m", "me/tiny")
    both.ok("configure", "show")

    def get(path: str) -> Any:
        return json.loads(urlopen(f"http://127.0.0.1:{both.port}{path}", timeout=10).read())

    [model] = get("/models")
    assert (model["config"]["format"], model["config"]["parameters"]) == ("safetensors", "397.70 K")
    assert model["config"]["safetensors"] == {"tensor_count": "21", "max_position_embeddings": "2048"}
    details = get("/api/tags")["models"][0]["details"]
    assert details == {
        "parent_model": "",
        "format": "safetensors",
        "family": "LlamaForCausalLM",
        "families": ["LlamaForCausalLM"],
        "parameter_size": "397.70 K",
        "quantization_level": "BF16",
    }
    assert get("/v1/models")["data"][0]["dmr"]["context_window"] == 2048
    shown = both.ok("show", "me/tiny")
    assert "Safetensors Metadata:\n  max_position_embeddings: 2048\n  tensor_count: 21\n" in shown
    assert "GGUF" not in shown
    assert "(trained for 2048)" in shown
    with httpx.Client(follow_redirects=True) as browser:
        browser.get(both.ok("ui", "--print").strip())
        page = browser.get(f"http://127.0.0.1:{both.port}/ui/models/me/tiny")
    assert page.status_code == 200
    assert "Safetensors metadata" in page.text
    assert "max_position_embeddings" in page.text
