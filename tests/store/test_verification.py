"""`verify`: damage is found, named, and taken out of use, so that a pull repairs it."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from dmrc import artifact
from dmrc.artifact import Descriptor, ModelConfig, build_manifest, write_config
from dmrc.errors import ModelNotFoundError
from dmrc.models import Models
from dmrc.reference import Reference
from dmrc.sources.credentials import DockerCredentials
from dmrc.sources.oci import OciSource
from dmrc.store import BlobMissingError, Store
from tests.registry import RegistryServer
from tests.store.test_store import add, put


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "store")


def blob(store: Store, digest: str) -> Path:
    return store.root / "blobs/sha256" / digest.removeprefix("sha256:")


def damage(path: Path) -> None:
    """Change the last byte, and nothing of the size or the time."""
    status = path.stat()
    path.chmod(0o600)
    with path.open("r+b") as stream:
        stream.seek(-1, os.SEEK_END)
        last = stream.read(1)
        stream.seek(-1, os.SEEK_END)
        stream.write(bytes([last[0] ^ 1]))
    os.utime(path, (status.st_atime, status.st_mtime))


def silent(_digest: str, _done: int, _size: int) -> None:
    pass


def test_a_store_in_order_has_nothing_to_tell(store: Store) -> None:
    add(store, "a/b", "c/d")
    heard: dict[str, tuple[int, int]] = {}

    verified = store.verify([], lambda digest, done, size: heard.update({digest: (done, size)}))

    assert (verified.count, verified.damaged) == (3, ())  # layer, config, manifest
    assert verified.size_bytes == sum(path.stat().st_size for path in (store.root / "blobs/sha256").iterdir())
    assert all(done == size for done, size in heard.values())
    assert len(heard) == 3


def test_a_damaged_file_is_named_once_with_all_its_models_and_no_longer_used(store: Store) -> None:
    model = add(store, "a/b", gguf=b"weights")
    layers = list(model.manifest.layers)
    config = Descriptor(artifact.CONFIG, *put(store, write_config(ModelConfig(format="gguf", context_size=9), layers)))
    store.add(build_manifest(config, layers), [Reference.parse("c/d")])
    damage(blob(store, layers[0].digest))

    (found,) = store.verify([], silent).damaged

    assert (found.digest, found.reason, found.models) == (layers[0].digest, "is damaged", ("a/b", "c/d"))
    assert not store.has_blob(layers[0].digest, layers[0].size_bytes)
    with pytest.raises(BlobMissingError):
        store.files(model)
    (again,) = store.verify([], silent).damaged
    assert again.reason == "is missing"


def test_only_the_models_that_are_named_are_verified(store: Store) -> None:
    damaged, whole = add(store, "a/b", gguf=b"one"), add(store, "c/d", gguf=b"other")
    damage(blob(store, damaged.manifest.layers[0].digest))

    assert store.verify(["c/d", whole.digest[7:19]], silent).damaged == ()
    assert len(store.verify([damaged.digest], silent).damaged) == 1
    with pytest.raises(ModelNotFoundError):
        store.verify(["c/d", "e/f"], silent)


@pytest.mark.parametrize("part", ["manifest", "config"])
def test_a_damaged_document_is_found_although_it_hides_the_model(store: Store, part: str) -> None:
    model = add(store, "a/b")
    digest = model.digest if part == "manifest" else model.manifest.config.digest
    damage(blob(store, digest))

    assert store.models() == []
    with pytest.raises(BlobMissingError, match=r"missing or not whole\. Run: dmrc pull a/b"):
        store.resolve("a/b")
    (found,) = store.verify(["a/b"], silent).damaged

    assert (found.digest, found.models) == (digest, ("a/b",))
    assert store.remove("a/b").deleted == (model.digest,)
    assert store.verify([], silent).count == 0


def test_removing_a_model_keeps_the_files_that_a_damaged_one_may_need(store: Store) -> None:
    kept, gone = add(store, "kept", gguf=b"shared"), add(store, "gone", "gone:too", gguf=b"shared")
    assert kept.digest == gone.digest
    config = Descriptor(artifact.CONFIG, *put(store, b'{"config":{"format":"gguf"}}'))
    other = store.add(build_manifest(config, list(kept.manifest.layers)), [Reference.parse("other")])
    damage(blob(store, kept.digest))

    store.remove("other")

    assert store.has_blob(kept.manifest.layers[0].digest, kept.manifest.layers[0].size_bytes)
    assert not blob(store, other.digest).exists()


@pytest.mark.parametrize("part", ["layer", "config", "manifest"])
def test_a_pull_after_a_verify_brings_what_was_damaged(
    store: Store, registry: RegistryServer, part: str, tmp_path: Path
) -> None:
    """The damaged file has the right size, and nothing but its hash tells."""
    models = Models(store, lambda: [OciSource(DockerCredentials(tmp_path / "no-docker"))])
    digest = registry.push_model("ai/tiny:v1", b"GGUF" + bytes(100_000))
    name = f"{registry.address}/ai/tiny:v1"
    models.pull(name)
    model = store.resolve(name)
    damage(blob(store, {"layer": model.manifest.layers[0], "config": model.manifest.config}[part].digest)
           if part != "manifest" else blob(store, digest))  # fmt: skip

    assert len(store.verify([], silent).damaged) == 1
    assert not models.pull(name).was_present

    assert store.verify([], silent).damaged == ()
    assert store.files(store.resolve(name)).path.read_bytes() == b"GGUF" + bytes(100_000)
    assert store.prune().removed[0].path.name.endswith(".damaged")
