"""Speculative decoding that a model's own file brings: switched on, and off, and what it takes."""

from __future__ import annotations

import dataclasses
import json
import re
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from dmrc.engines.llama_cpp import memory
from dmrc.engines.llama_cpp.engine import LlamaCpp
from dmrc.engines.llama_cpp.speculation import WITH_HEADS
from dmrc.engines.local_model import Companion, Companions, LocalModel
from dmrc.errors import InputError
from dmrc.gguf import GgufFacts
from dmrc.project import ServingOptions
from tests.dmrc_command import Dmrc, temporary_dmrc
from tests.engines.child import ANY_FACTS
from tests.groups import LLAMA_SERVER
from tests.synthetic_gguf import Shape, write_model
from tests.tiny_gguf import write_tiny_llama
from tests.tiny_mtp import write_tiny_mtp
from tests.vulkan import VulkanServer


def read(path: Path) -> GgufFacts:
    with path.open("rb") as stream:
        return GgufFacts.parse(stream, name=path.name)


@pytest.fixture
def facts(tmp_path: Path) -> GgufFacts:
    return read(write_tiny_mtp(tmp_path / "mtp.gguf"))


def flags(
    facts: GgufFacts, *said: str, draft: GgufFacts | None = None, binary: Path | None = None, **options: Any
) -> tuple[str, ...]:
    beside = Companions(draft=Companion(Path("draft.gguf"), draft) if draft else None)
    model = LocalModel(path=Path("m.gguf"), facts=facts, companions=beside)
    settled = LlamaCpp(str(binary) if binary else None).settle(
        "ai/m", model, ServingOptions(context_size=512, runtime_flags=said, **options), None
    )
    assert settled.runtime_flags is not None
    return settled.runtime_flags


def test_a_head_in_the_file_is_used_without_asking(facts: GgufFacts) -> None:
    assert flags(facts) == ("--spec-type", "draft-mtp")


@pytest.mark.parametrize("kind", ["none", "ngram-mod", "draft-mtp"])
def test_what_the_project_says_of_speculation_is_what_counts(facts: GgufFacts, kind: str) -> None:
    assert flags(facts, "--spec-type", kind) == ("--spec-type", kind)


def test_a_head_that_the_engine_cannot_use_is_left_alone(facts: GgufFacts, tmp_path: Path) -> None:
    """llama.cpp would abort: it has no graph for it, the tensors are not in the file, or there are several."""
    assert flags(dataclasses.replace(facts, architecture="glm4")) == ()
    assert flags(read(write_tiny_mtp(tmp_path / "without.gguf", head=False))) == ()
    assert flags(dataclasses.replace(facts, next_token_heads=3)) == ()
    assert flags(facts, mode="embedding") == flags(dataclasses.replace(facts, next_token_heads=0), mode="embedding")


@pytest.mark.parametrize(
    ("change", "kind"),
    [
        ({"architecture": "llama"}, "draft-simple"),
        ({"architecture": "eagle3"}, "draft-eagle3"),
        ({"architecture": "dflash"}, "draft-dflash"),
        ({}, "draft-mtp"),
        ({"embedding_length": 32}, "draft-simple"),
    ],
)
def test_a_draft_guesses_as_its_file_says(facts: GgufFacts, change: dict[str, Any], kind: str) -> None:
    draft = dataclasses.replace(facts, **change)

    assert flags(facts, draft=draft) == ("--spec-type", kind)
    assert flags(facts, "--spec-type", "ngram-mod", draft=draft)[-1] == f"ngram-mod,{kind}"
    assert flags(facts, "--spec-type", "draft-dspark", draft=draft)[-1] == "draft-dspark"
    assert flags(facts, "--spec-type", "none", draft=draft)[-1] == "none"


def test_a_head_or_a_draft_that_is_not_there_is_refused_before_anything_starts() -> None:
    with pytest.raises(InputError, match="model 'ai/m' has no head that guesses ahead, which '--spec-type draft-mtp'"):
        flags(ANY_FACTS, "--spec-type", "draft-mtp")
    with pytest.raises(InputError, match="model 'ai/m' has no draft, which '--spec-type draft-eagle3' asks for"):
        flags(ANY_FACTS, "--spec-type", "ngram-mod,draft-eagle3")


@pytest.mark.process
@pytest.mark.parametrize(("says", "used"), [("none,draft-mtp,ngram-mod", True), ("none,ngram-cache", False)])
def test_a_llama_server_that_does_not_know_heads_goes_without(
    facts: GgufFacts, tmp_path: Path, says: str, used: bool
) -> None:
    binary = tmp_path / "llama-server"
    binary.write_text(f"#!/bin/sh\necho '--spec-type {says}'\n")
    binary.chmod(0o755)

    assert ("draft-mtp" in flags(facts, binary=binary)) == used


def test_the_context_of_the_head_counts(facts: GgufFacts) -> None:
    def estimated(*said: str) -> memory.MemoryEstimate:
        options = ServingOptions(context_size=512, runtime_flags=said)
        return memory.estimate(LocalModel(path=Path("m.gguf"), facts=facts), options, 2)

    with_head, without = estimated("--spec-type", "draft-mtp"), estimated("--spec-type", "none")

    a_block = 512 * 2 * 2 * (16 + 16) * 2
    assert with_head.kv_bytes == without.kv_bytes == 2 * a_block
    assert with_head.companion_bytes > a_block
    assert without.companion_bytes == 0
    smaller = estimated("--spec-type", "draft-mtp", "-ctkd", "q8_0", "-ctvd", "q8_0").companion_bytes
    assert with_head.companion_bytes - smaller == a_block * 30 // 64


def test_a_split_model_has_its_head_in_the_last_file(tmp_path: Path) -> None:
    first, second = read(write_tiny_llama(tmp_path / "one.gguf")), read(write_tiny_mtp(tmp_path / "two.gguf"))

    assert first.with_shards([second]).next_token_heads == 1


def test_the_architectures_are_those_of_llama_cpps_source(vulkan_server: VulkanServer) -> None:
    """Compared with the source that .ci/build-llama compiled, which lies beside what it made."""
    (sdist,) = vulkan_server.program.parent.glob("llama_cpp_python-*.tar.gz")
    texts = dict(_sources(sdist))
    names = dict(re.findall(r"\{ (LLM_ARCH_\w+),\s*\"([^\"]+)\"", texts["llama-arch.cpp"]))
    classes = dict(re.findall(r"case (LLM_ARCH_\w+):\s*return new llama_model_(\w+)\(", texts["llama-model.cpp"]))
    able = {
        found[1]
        for name, text in texts.items()
        if "LLM_GRAPH_TYPE_DECODER_MTP" in text and (found := re.search(r"llama_model_(\w+)::build_arch_graph", text))
    }

    assert {names[each] for each, made in classes.items() if made in able} == WITH_HEADS


def _sources(sdist: Path) -> Iterator[tuple[str, str]]:
    with tarfile.open(sdist) as archive:
        for member in archive:
            if re.search(r"llama\.cpp/src/(models/[^/]+|llama-(arch|model))\.cpp$", member.name):
                stream = archive.extractfile(member)
                assert stream is not None
                yield Path(member.name).name, stream.read().decode()


@pytest.fixture(
    scope="module",
    params=[
        pytest.param(None, id="xllamacpp", marks=pytest.mark.engine),
        pytest.param(LLAMA_SERVER, id="llama-server", marks=pytest.mark.llama_server),
        pytest.param("card", id="card", marks=pytest.mark.vulkan),
    ],
)
def dmrc(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Dmrc]:
    directory = tmp_path_factory.mktemp("heads")
    with temporary_dmrc() as dmrc:
        if request.param == "card":
            server, card_of = request.getfixturevalue("vulkan_server"), request.getfixturevalue("card_of")
            dmrc.environment |= {"DMRC_LLAMA_SERVER": str(server.program), **card_of(1024)}
        elif request.param:
            dmrc.environment["DMRC_LLAMA_SERVER"] = request.param
        dmrc.ok("package", "--gguf", write_tiny_mtp(directory / "mtp.gguf"), "local/mtp")
        dmrc.ok("package", "--gguf", write_model(directory / "plain.gguf", Shape()), "local/plain")
        yield dmrc


def answer(dmrc: Dmrc, directory: Path, *said: str) -> tuple[str, dict[str, int]]:
    import openai

    file = directory / f"compose-{len(said)}.yaml"
    model = f"{{model: local/mtp, context_size: 256, runtime_flags: {json.dumps(['--temp', '0', *said])}}}"
    file.write_text(f"name: heads\nservices: {{app: {{image: none, models: [llm]}}}}\nmodels: {{llm: {model}}}\n")
    variables = json.loads(dmrc.ok("env", "-f", file, "app", "--format", "json"))
    client = openai.OpenAI(base_url=variables["OPENAI_BASE_URL"], api_key=variables["OPENAI_API_KEY"], max_retries=0)
    raw = client.completions.with_raw_response.create(model="llm", prompt="w20 w21", max_tokens=30)
    document = json.loads(raw.content)
    return document["choices"][0]["text"], document["timings"]


def test_the_head_guesses_and_changes_no_word(dmrc: Dmrc, tmp_path: Path) -> None:
    guessed, timings = answer(dmrc, tmp_path)
    plain, without = answer(dmrc, tmp_path, "--spec-type", "none")

    assert guessed == plain
    assert timings["draft_n_accepted"] > 10
    assert "draft_n" not in without
    assert "guesses ahead with the head in its file" in (dmrc.home / "logs" / "daemon.log").read_text()
