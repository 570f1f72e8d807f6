"""`verify`, `prune` and `usage` of the store, and what another program makes of it."""

from __future__ import annotations

import os
import subprocess
import time
from pathlib import Path

import pytest
from filelock import FileLock

from dmrc.store import Store
from dmrc.store.model import BlobMissingError
from tests.registry import RegistryServer
from tests.store.test_store import add, put

OLD = time.time() - 3600


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "store")


def _silent(_digest: str, _done: int, _size: int) -> None:
    pass


def _blob(store: Store, digest: str) -> Path:
    return store.root / "blobs/sha256" / digest.removeprefix("sha256:")


def test_a_store_in_order_has_nothing_to_tell(store: Store) -> None:
    model = add(store, "a/b", "c/d")

    verified = store.verify([model], _silent)

    assert (verified.count, verified.damaged) == (2, ())
    assert store.prune() == []


def test_a_damaged_file_is_named_once_with_its_models_and_taken_out(store: Store) -> None:
    models = [add(store, "a/b", gguf=b"weights"), add(store, "c/d", gguf=b"weights")]
    assert models[0].digest == models[1].digest
    layer = models[0].manifest.layers[0]
    path = _blob(store, layer.digest)
    path.chmod(0o600)
    path.write_bytes(b"wEights")

    verified = store.verify(store.models(), _silent)

    (damage,) = verified.damaged
    assert (damage.digest, damage.reason, damage.models) == (layer.digest, "was damaged", ("a/b",))
    with pytest.raises(BlobMissingError):
        store.files(models[0])
    (again,) = store.verify(store.models(), _silent).damaged
    assert again.reason == "is missing"


def test_prune_takes_what_nothing_refers_to_and_leaves_the_rest(store: Store) -> None:
    model = add(store, "a/b")
    digest, size = put(store, b"nobody's")
    os.utime(_blob(store, digest), (OLD, OLD))
    leftover = _blob(store, digest).with_name(".0123-x.part")
    leftover.write_bytes(b"interrupted")

    told = store.prune(dry_run=True)
    assert {each.path for each in told} == {leftover, _blob(store, digest)}
    assert store.has_blob(digest, size)
    assert store.prune() == told

    assert not store.has_blob(digest, size)
    assert not leftover.exists()
    assert store.verify([model], _silent).damaged == ()


def test_prune_leaves_what_another_is_just_writing(store: Store) -> None:
    """A blob that is whole, and of a model that is not added yet, is young; one that is being written is locked."""
    add(store, "a/b")
    digest, size = put(store, b"a layer of a model to come")
    with store.write_blob() as writer:
        writer.write(b"half")

        assert store.prune() == []

    assert store.has_blob(digest, size)


def test_prune_leaves_every_blob_while_a_pull_runs(store: Store) -> None:
    add(store, "a/b")
    digest, _ = put(store, b"the first layer of a pull that takes hours")
    os.utime(_blob(store, digest), (OLD, OLD))
    (store.root / "locks").mkdir()

    with FileLock(store.root / "locks" / "0123.lock"):
        assert store.prune() == []
    assert [each.path for each in store.prune()] == [_blob(store, digest)]


def test_prune_takes_interrupted_pulls_and_leaves_those_that_go_on(store: Store) -> None:
    held = store.open_partial("sha256:" + "ab" * 32, 1000)
    assert held is not None
    with held as going_on:
        going_on.write(0, b"x" * 100)
        interrupted = store.open_partial("sha256:" + "cd" * 32, 1000)
        assert interrupted is not None
        with interrupted as left:
            left.write(0, b"y" * 100)

        (gone,) = store.prune()

        assert gone.path.name == f"sha256-{'cd' * 32}.data"
        assert {path.stem for path in (store.root / "partial").iterdir()} == {f"sha256-{'ab' * 32}"}


def test_usage_counts_a_file_with_two_names_once(store: Store) -> None:
    model = add(store, "a/b", gguf=b"w" * 100_000)
    before = store.usage()
    bundle = store.root / "bundles" / model.digest.removeprefix("sha256:")
    bundle.mkdir(parents=True)
    os.link(_blob(store, model.manifest.layers[0].digest), bundle / "model-00001-of-00001.gguf")
    put(store, b"n" * 50_000)

    after = store.usage()

    assert before.unused_bytes == 0
    assert after.models_bytes == before.models_bytes >= 100_000
    assert 50_000 <= after.unused_bytes < 60_000


@pytest.mark.registry
def test_skopeo_copies_out_of_the_store_and_into_another(
    store: Store, registry: RegistryServer, tmp_path: Path
) -> None:
    model = add(store, "ai/tiny:v1")
    name = f"{registry.address}/ai/tiny:v1"
    plain = ["--dest-tls-verify=false", "--src-tls-verify=false"]
    skopeo = ["skopeo", "copy", "--quiet", *plain]

    subprocess.run([*skopeo, f"oci:{store.root}:docker.io/ai/tiny:v1", f"docker://{name}"], check=True)
    other = Store(tmp_path / "other")
    add(other, "ai/first", gguf=b"another")
    subprocess.run([*skopeo, f"docker://{name}", f"oci:{other.root}:{name}"], check=True)

    found = other.resolve(name)
    assert (found.digest, found.tags) == (model.digest, (name,))
    assert other.files(found).gguf.read_bytes() == b"weights"
    assert len(other.models()) == 2
    assert other.prune() == []
