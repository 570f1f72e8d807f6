"""A stranger's engine: files that are no GGUF, flags of its own, no memory counted, and not a line changed for it.

That it serves as the others do is in `conformance/test_basic.py`, where it is one of the engines.
"""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.dmrc_command import Dmrc
from tests.engines.installed_toy import install_toy


@pytest.fixture
def toy(dmrc: Dmrc) -> Dmrc:
    install_toy(dmrc)
    return dmrc


def test_it_serves_a_directory_with_flags_of_its_own_and_counts_no_memory(toy: Dmrc) -> None:
    import openai

    project = toy.home / "compose.yaml"
    project.write_text(
        "name: toys\nservices: {app: {image: none, models: [llm]}}\n"
        "models: {llm: {model: local/toy, runtime_flags: [--tensor-parallel-size, '2'], x-dmrc: {engine: toy}}}\n"
    )
    variables = json.loads(toy.ok("env", "app", "--format", "json", cwd=toy.home))
    client = openai.OpenAI(
        base_url=f"http://127.0.0.1:{toy.port}/v1", api_key=variables["OPENAI_API_KEY"], max_retries=0
    )
    messages = [{"role": "user", "content": "What are you?"}]

    whole = client.chat.completions.create(model="llm", messages=messages)
    chunks = list(client.chat.completions.create(model="llm", messages=messages, stream=True))

    told = "config.json model.safetensors tokenizer.json --tensor-parallel-size 2"
    assert whole.choices[0].message.content == told
    assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices) == told
    (runner,) = json.loads(toy.ok("ps", "--json"))
    assert (runner["engine"], runner["memory_estimated_bytes"], runner["parallel"]) == ("toy", None, None)
    (exchange, *_) = json.loads(toy.ok("requests", "--json"))
    assert exchange["engine"] == "toy"
    anthropic = toy.ok("requests", "show", exchange["id"])
    assert "model.safetensors" in anthropic


def test_a_format_that_only_one_engine_serves_needs_no_name_of_an_engine(toy: Dmrc) -> None:
    (toy.home / "compose.yaml").write_text(
        "name: toys\nservices: {app: {image: none, models: [llm]}}\nmodels: {llm: {model: local/toy}}\n"
    )

    toy.ok("exec", "app", "--", "true", cwd=toy.home)

    (runner,) = json.loads(toy.ok("ps", "--json"))
    assert runner["engine"] == "toy"


def test_a_server_that_listens_on_a_port_is_an_engine_like_others(dmrc: Dmrc) -> None:
    import openai

    install_toy(dmrc, "tests.engines.toy_on_port")
    dmrc.ok("configure", "show")
    client = openai.OpenAI(base_url=f"http://127.0.0.1:{dmrc.port}/v1", api_key="none", max_retries=0)

    answers = [
        client.chat.completions.create(
            model="local/toy", messages=[{"role": "user", "content": "What are you?"}], max_tokens=1
        )
        for _ in range(3)
    ]

    assert {answer.choices[0].message.content for answer in answers} == {"config.json"}
    assert list((dmrc.home / "run").glob("runner-*.sock")) == []
    dmrc.ok("unload", "local/toy")
    assert json.loads(dmrc.ok("ps", "--json")) == []


def test_a_flag_that_it_does_not_know_is_refused_in_its_own_words(toy: Dmrc) -> None:
    (toy.home / "compose.yaml").write_text(
        "name: toys\nservices: {app: {image: none, models: [llm]}}\n"
        "models: {llm: {model: local/toy, runtime_flags: [--temp, '2'], x-dmrc: {engine: toy}}}\n"
    )

    done = toy.run("env", "app", cwd=toy.home)

    assert done.returncode == 2
    assert "models.llm: runtime flag '--temp' is unknown to the toy" in done.stderr


def test_a_model_of_another_format_is_refused_with_an_engine_that_serves_it(toy: Dmrc, tiny: Path) -> None:
    toy.ok("package", "--gguf", str(tiny), "local/tiny")
    (toy.home / "compose.yaml").write_text(
        "name: toys\nservices: {app: {image: none, models: [llm]}}\n"
        "models: {llm: {model: local/tiny, x-dmrc: {engine: toy}}}\n"
    )

    done = toy.run("exec", "app", "--", "true", cwd=toy.home)

    assert done.returncode == 2
    assert "in the format 'gguf', which engine 'toy' does not serve" in done.stderr
    assert "x-dmrc: {engine: llama.cpp}" in done.stderr


def test_what_is_loaded_beside_a_model_has_its_format(toy: Dmrc, tiny: Path) -> None:
    toy.ok("package", "--gguf", str(tiny), "local/tiny")
    written = (
        "name: toys\nservices: {app: {image: none, models: [llm]}}\n"
        "models: {llm: {model: %s, x-dmrc: {draft: local/toy}}}\n"
    )
    project = toy.home / "compose.yaml"

    project.write_text(written % "local/toy")
    toy.ok("exec", "app", "--", "true", cwd=toy.home)
    project.write_text(written % "local/tiny")
    refused = toy.run("exec", "app", "--", "true", cwd=toy.home)

    assert refused.returncode == 2
    assert (
        "a model in the format 'gguf' cannot be loaded with a draft in another format. Name a draft that is"
        in refused.stderr
    )
