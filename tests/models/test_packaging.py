"""Models made of files: copies, reproducible, refused where the input is bad."""

import os
from pathlib import Path

import pytest

from dmrc.errors import (
    GgufError,
    InputError,
    InvalidReferenceError,
)
from dmrc.models import Models, Parts, describe
from dmrc.sources import ProgressEvent
from dmrc.store import Store
from tests.models.conftest import new_models
from tests.tiny_gguf import write_tiny_llama


def test_a_packaged_model_is_described_as_docker_model_runner_would(both: tuple[Store, Models], tiny: Path) -> None:
    store, models = both

    model = models.package(Parts(gguf=tiny), "tiny")

    described = describe(model)
    assert store.resolve("tiny") == model
    assert described["id"] == model.digest
    assert described["tags"] == ["docker.io/ai/tiny:latest"]
    assert described["created"] == model.pulled_at
    config = described["config"]
    assert config.pop("gguf")["general.name"] == "Tiny"
    assert config == {
        "format": "gguf",
        "quantization": "F16",
        "parameters": "141.38 K",
        "architecture": "llama",
        "size": "298.06 kB",  # of all its files, as everywhere; the artifact says its tensors in Docker's own words
    }
    assert model.config.size == "276.75 KiB"


def test_the_same_files_always_give_the_same_id(tmp_path: Path, tiny: Path) -> None:
    extra = {"licenses": [tmp_path / "LICENSE"], "chat_template": tmp_path / "chat.jinja", "mmproj": tiny}
    (tmp_path / "LICENSE").write_text("be kind")
    (tmp_path / "chat.jinja").write_text("{{ messages }}")
    first_store, first = new_models(tmp_path / "first")
    _, second = new_models(tmp_path / "second")

    one = first.package(Parts(gguf=tiny, context_size=128, **extra), "one")
    os.utime(tiny, (1, 1))
    other = second.package(
        Parts(
            gguf=tiny.rename(tmp_path / "renamed.gguf"),
            context_size=128,
            **{**extra, "mmproj": tmp_path / "renamed.gguf"},
        ),
        "two",
    )

    assert one.digest == other.digest
    assert describe(one)["config"]["context_size"] == 128
    files = first_store.files(one)
    assert files.chat_template.read_text() == "{{ messages }}"
    assert files.mmproj is not None
    assert first.package(Parts(gguf=tmp_path / "renamed.gguf"), "three").digest != one.digest


def test_packaging_copies_and_tells_how_far_it_is(both: tuple[Store, Models], tiny: Path) -> None:
    store, models = both
    events: list[ProgressEvent] = []
    content = tiny.read_bytes()

    model = models.package(Parts(gguf=tiny), "tiny", progress=events.append)
    tiny.write_bytes(b"changed")

    assert store.files(model).path.read_bytes() == content
    assert (events[-1].layer, events[-1].current_bytes) == ("tiny.gguf", len(content))


def test_a_split_model_is_packaged_by_its_first_file(both: tuple[Store, Models], tmp_path: Path) -> None:
    store, models = both
    whole = models.package(Parts(gguf=write_tiny_llama(tmp_path / "whole.gguf")), "whole")
    first = write_tiny_llama(tmp_path / "split.gguf", split_max_tensors=8)

    model = models.package(Parts(gguf=first), "split")

    files = store.files(model)
    assert files.path.name == "model-00001-of-00003.gguf"
    assert sorted(path.name for path in files.path.parent.iterdir())[-1] == "model-00003-of-00003.gguf"
    assert files.path.stat().st_nlink == 2
    assert store.files(model) == files
    assert store.facts(model).parameters == store.facts(whole).parameters
    assert model.config.size == whole.config.size
    store.remove("split")
    assert not files.path.exists()


def test_a_split_model_must_be_whole(both: tuple[Store, Models], tmp_path: Path) -> None:
    _, models = both
    first = write_tiny_llama(tmp_path / "x.gguf", split_max_tensors=8)
    second, third = (first.with_name(f"x-0000{number}-of-00003.gguf") for number in (2, 3))

    with pytest.raises(InputError, match=r"is not the first file of a split model\. Name '.*00001-of-00003.gguf'"):
        models.package(Parts(gguf=second), "x")
    third.unlink()
    with pytest.raises(InputError, match=r"x-00003-of-00003\.gguf' is not there"):
        models.package(Parts(gguf=first), "x")
    with pytest.raises(InputError, match="one of 3 files of a split model, but is not named as such"):
        models.package(Parts(gguf=first.rename(tmp_path / "x.gguf")), "x")


def test_bad_input_leaves_nothing_behind(both: tuple[Store, Models], tmp_path: Path, tiny: Path) -> None:
    store, models = both
    (tmp_path / "x.gguf").write_bytes(b"PK\3\4 no model")
    (tmp_path / "binary").write_bytes(b"\xff\xfe")

    with pytest.raises(GgufError, match=r"x\.gguf' is not a GGUF file: "):
        models.package(Parts(gguf=tmp_path / "x.gguf"), "x")
    with pytest.raises(GgufError, match=r"x\.gguf' is not a GGUF file: "):
        models.package(Parts(gguf=tiny, mmproj=tmp_path / "x.gguf"), "x")
    for bad in (
        lambda: models.package(Parts(gguf=tmp_path / "missing.gguf"), "x"),
        lambda: models.package(Parts(gguf=tmp_path), "x"),
        lambda: models.package(Parts(gguf=tiny, chat_template=tmp_path / "binary"), "x"),
        lambda: models.package(Parts(gguf=tiny, licenses=[tmp_path / "missing"]), "x"),
        lambda: models.package(Parts(gguf=tiny, context_size=0), "x"),
    ):
        with pytest.raises(InputError):
            bad()
    for target in ("a:b:c", "", "x@sha256:" + "a" * 64):
        with pytest.raises(InvalidReferenceError):
            models.package(Parts(gguf=tiny), target)
    assert store.models() == []
    assert not list(store.root.rglob("*.part"))
