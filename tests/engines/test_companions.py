"""Adapters and draft models on the real engine, from a compose file to the answer."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from dmrc.engines.llama_cpp_python.engine import LlamaCppPython
from dmrc.errors import UnsupportedError
from tests.dmrc_command import Dmrc, temporary_dmrc
from tests.engines.child import configured
from tests.synthetic_gguf import Shape, write_lora, write_model

pytestmark = pytest.mark.engine

SHAPE = Shape()


@pytest.fixture(scope="module")
def workshop(tmp_path_factory: pytest.TempPathFactory, needs_engine: None) -> Iterator[tuple[Dmrc, Path]]:
    directory = tmp_path_factory.mktemp("companions")
    write_lora(directory / "adapter.gguf", SHAPE, strength=8)
    write_lora(directory / "other.gguf", Shape(architecture="qwen2"))
    with temporary_dmrc() as dmrc:
        model = write_model(directory / "base.gguf", SHAPE)
        dmrc.ok("package", "--gguf", model, "local/base")
        dmrc.ok("package", "--gguf", write_model(directory / "draft.gguf", Shape(blocks=1)), "local/draft")
        dmrc.ok("package", "--gguf", directory / "adapter.gguf", "local/adapter")
        yield dmrc, directory


def project(directory: Path, name: str, options: str) -> Path:
    """Write a project beside the files, so that `./` names them."""
    file = directory / f"{name}.yaml"
    model = (
        f"{{model: local/base, context_size: 512, runtime_flags: ['--temp', '0'], x-dmrc: {{parallel: 1, {options}}}}}"
    )
    file.write_text(f"name: {name}\nservices: {{app: {{image: none, models: [llm]}}}}\nmodels: {{llm: {model}}}\n")
    return file


def answer(dmrc: Dmrc, file: Path) -> tuple[str, dict[str, object]]:
    import openai

    variables = json.loads(dmrc.ok("env", "-f", file, "app", "--format", "json"))
    client = openai.OpenAI(base_url=variables["OPENAI_BASE_URL"], api_key=variables["OPENAI_API_KEY"], max_retries=0)
    raw = client.completions.with_raw_response.create(model="llm", prompt="a b c", max_tokens=12)
    document = json.loads(raw.content)
    return document["choices"][0]["text"], document["timings"]


def test_an_adapter_changes_the_answer_whether_a_file_or_a_model(workshop: tuple[Dmrc, Path]) -> None:
    dmrc, directory = workshop

    plain, _ = answer(dmrc, project(directory, "plain", "ready: pulled"))
    by_path, _ = answer(dmrc, project(directory, "bypath", "lora: [./adapter.gguf]"))
    by_reference, _ = answer(dmrc, project(directory, "byreference", "lora: [local/adapter]"))

    assert plain != by_path == by_reference
    runners = json.loads(dmrc.ok("ps", "--json"))
    assert len({runner["id"] for runner in runners}) == 3


def test_a_changed_adapter_is_another_runner(workshop: tuple[Dmrc, Path]) -> None:
    dmrc, directory = workshop
    file = project(directory, "changing", "lora: [./changing.gguf]")
    write_lora(directory / "changing.gguf", SHAPE, strength=8)
    before, _ = answer(dmrc, file)

    write_lora(directory / "changing.gguf", SHAPE, seed=7, strength=8)

    assert answer(dmrc, file)[0] != before


def test_a_draft_model_guesses_and_changes_no_word(workshop: tuple[Dmrc, Path]) -> None:
    dmrc, directory = workshop
    plain, _ = answer(dmrc, project(directory, "undrafted", "ready: pulled"))

    drafted, timings = answer(dmrc, project(directory, "drafted", "draft: local/draft"))

    assert drafted == plain
    assert timings["draft_n"] > 0


def test_an_adapter_for_another_model_is_one_sentence(workshop: tuple[Dmrc, Path]) -> None:
    dmrc, directory = workshop

    done = dmrc.run("exec", "-f", project(directory, "wrong", "lora: [./other.gguf]"), "app", "--", "true")

    assert done.returncode == 5
    *_, tail, last = done.stderr.splitlines()
    assert "a LoRA adapter does not fit it: model arch and LoRA arch mismatch" in last
    assert tail.startswith("  ")  # of the engine's log


def test_a_file_that_is_not_there_is_named_before_anything_starts(workshop: tuple[Dmrc, Path]) -> None:
    dmrc, directory = workshop

    done = dmrc.run("exec", "-f", project(directory, "absent", "lora: [./absent.gguf]"), "app", "--", "true")

    assert done.returncode == 2
    assert (
        f"models.llm.x-dmrc.lora: '{directory}/absent.gguf' cannot be read: No such file"
        in done.stderr.splitlines()[-1]
    )


@pytest.mark.parametrize("field", ["lora", "draft"])
def test_a_model_beside_it_that_was_removed_is_told_with_its_place(workshop: tuple[Dmrc, Path], field: str) -> None:
    import openai

    dmrc, directory = workshop
    dmrc.ok("package", "--gguf", directory / "adapter.gguf", "local/brief")
    reference = "[local/brief]" if field == "lora" else "local/brief"
    file = project(directory, f"removed{field}", f"ready: pulled, {field}: {reference}")
    variables = json.loads(dmrc.ok("env", "-f", file, "app", "--format", "json"))
    dmrc.ok("rm", "local/brief")
    client = openai.OpenAI(base_url=variables["OPENAI_BASE_URL"], api_key=variables["OPENAI_API_KEY"], max_retries=0)

    with pytest.raises(openai.NotFoundError) as refused:
        client.completions.create(model="llm", prompt="a b c", max_tokens=12)

    assert f"models.llm.x-dmrc.{field}: model 'local/brief' is not in the store" in str(refused.value)
    assert "Run: dmrc pull local/brief. Or take it out of the compose file" in str(refused.value)


@pytest.mark.llama_cpp_python
@pytest.mark.parametrize(
    ("companions", "message"),
    [
        (["draft"], "takes no draft model. Use engine llama.cpp"),
        (["mmproj"], "reads no images"),
        (["lora", "lora"], "applies no more than one LoRA adapter"),
    ],
)
def test_an_engine_that_cannot_says_so_before_it_starts(companions: list[str], message: str) -> None:
    with pytest.raises(UnsupportedError, match=message):
        LlamaCppPython().check(configured(), companions)


@pytest.mark.llama_cpp_python
def test_llama_cpp_python_applies_an_adapter_too(workshop: tuple[Dmrc, Path]) -> None:
    dmrc, directory = workshop

    plain, _ = answer(dmrc, project(directory, "second", "engine: llama-cpp-python"))
    adapted, _ = answer(dmrc, project(directory, "secondadapted", "engine: llama-cpp-python, lora: [./adapter.gguf]"))

    assert plain != adapted
