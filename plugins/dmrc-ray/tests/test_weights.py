"""How a node comes to the files of a model: it sees them, or pulls them by digest, once."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from dmrc_ray.order import Work
from dmrc_ray.weights import local_model

from dmrc.errors import EngineStartError
from tests.registry import RegistryServer
from tests.tiny_gguf import write_tiny_llama


def work(path: Path, size_bytes: int, name: str = "registry.invalid/ai/tiny:latest", digest: str | None = None) -> Work:
    return Work(
        name=name,
        digest=digest,
        path=str(path),
        size_bytes=size_bytes,
        references=(),
        mmproj=None,
        loras=(),
        draft=None,
        chat_template=None,
        options={},
        parallel=1,
        prompt_cache_bytes=0,
    )


@pytest.fixture
def tiny(tmp_path: Path) -> Path:
    return write_tiny_llama(tmp_path / "tiny.gguf")


@pytest.fixture
def node_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    home = tmp_path / "node"
    monkeypatch.setenv("DMRC_HOME", str(home))
    return home


def test_a_file_that_the_node_sees_is_used_as_it_is(tiny: Path, node_home: Path) -> None:
    model = local_model(work(tiny, tiny.stat().st_size), "node-1", print)

    assert model.path == tiny
    assert model.facts is not None and model.facts.architecture == "llama"
    assert not node_home.exists()


def test_one_that_it_does_not_see_is_pulled_by_its_digest_once_for_all_replicas_of_the_node(
    tiny: Path, tmp_path: Path, node_home: Path, registry: RegistryServer
) -> None:
    digest = registry.push_model("ai/tiny:latest", tiny)
    registry.push_model("ai/tiny:latest", write_tiny_llama(tmp_path / "other.gguf", block_count=3))  # the tag moves on
    wanted = work(
        tmp_path / "elsewhere" / ("0" * 64), tiny.stat().st_size, f"{registry.address}/ai/tiny:latest", digest
    )
    said: list[str] = []

    with ThreadPoolExecutor() as threads:
        models = list(threads.map(lambda _: local_model(wanted, "node-1", said.append), range(3)))

    assert {model.path for model in models} == {models[0].path}
    assert models[0].path.is_relative_to(node_home / "store")
    assert models[0].path.read_bytes() == tiny.read_bytes()
    assert said.count("pulling the model (100 %)") == 1


def test_a_model_without_a_source_is_named_with_the_node_and_what_to_do(tiny: Path, node_home: Path) -> None:
    wanted = work(tiny.parent / "blobs" / ("0" * 64), 5, "127.0.0.1:9/ai/mine:latest", "sha256:" + "0" * 64)

    with pytest.raises(EngineStartError) as refused:
        local_model(wanted, "node-1", print)

    assert "node 'node-1' has no model '127.0.0.1:9/ai/mine:latest' and cannot pull it" in refused.value.message
    assert refused.value.remedy is not None
    assert refused.value.remedy.startswith(f"Mount {tiny.parent / 'blobs'} there, or push the model")
