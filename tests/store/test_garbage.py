"""`prune` and `usage`: what nothing refers to goes, what somebody is writing stays, and a byte counts once."""

from __future__ import annotations

import multiprocessing
import os
import subprocess
import time
from hashlib import sha256
from multiprocessing.synchronize import Event
from pathlib import Path

import pytest

from dmrc.models import Models, Parts
from dmrc.store import Store
from tests.store.test_store import add, put
from tests.store.test_verification import blob, damage, silent
from tests.tiny_gguf import write_tiny_llama

OLD = time.time() - 3600


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "store")


def old(path: Path) -> Path:
    os.utime(path, (OLD, OLD))
    return path


def names(store: Store) -> set[str]:
    return {each.path.name for each in store.prune().removed}


def test_a_store_in_order_has_nothing_to_prune(store: Store, tmp_path: Path) -> None:
    split = write_tiny_llama(tmp_path / "split.gguf", split_max_tensors=8)
    store.files(Models(store).package(Parts(gguf=split), "split"))
    add(store, "a/b")
    for path in store.root.rglob("*"):
        old(path)

    pruned = store.prune()

    assert (pruned.removed, pruned.left_because) == ((), None)
    assert store.verify([], silent).damaged == ()


def test_prune_takes_what_nothing_refers_to_and_leaves_the_rest(store: Store) -> None:
    model, gone = add(store, "a/b"), add(store, "c/d", gguf=b"damaged soon")
    digest, size = put(store, b"nobody's")
    half = blob(store, digest).with_name(".0123-x.part")
    half.write_bytes(b"interrupted")
    index = store.root / ".index.json-0123.part"
    index.write_bytes(b"interrupted too")
    bundle = store.root / "bundles" / ("ab" * 32)
    bundle.mkdir(parents=True)
    skopeos = store.root / "oci-put-blob123"
    skopeos.write_bytes(b"killed")
    for path in (blob(store, digest), half, index, bundle, skopeos):
        old(path)
    damage(blob(store, gone.manifest.layers[0].digest))
    store.verify([], silent)
    expected = {digest[7:], half.name, index.name, bundle.name, skopeos.name}
    expected.add(f"{gone.manifest.layers[0].digest[7:]}.damaged")

    told = store.prune(dry_run=True)

    assert {each.path.name for each in told.removed} == expected
    assert store.has_blob(digest, size)
    assert store.prune() == told
    assert not any(each.path.exists() for each in told.removed)
    assert store.files(model).path.exists()
    assert names(store) == set()


def test_prune_leaves_what_is_young(store: Store) -> None:
    """Another program brings the blobs of a model first, and its name last."""
    put(store, b"a layer of a model to come")
    (store.root / ".index.json-0123.part").write_bytes(b"an index to come")

    assert names(store) == set()


def _bring(root: Path, digest_of: str, started: Event, end: Event) -> None:
    store = Store(root)
    with store.writing(), store.write_blob() as writer:
        writer.write(digest_of.encode())
        started.set()
        end.wait(30)


@pytest.mark.process
def test_prune_leaves_old_blobs_while_another_process_brings_a_model(store: Store) -> None:
    """The first layer of a long pull is old when the last one comes."""
    digest, size = put(store, b"a first layer")
    old(blob(store, digest))
    context = multiprocessing.get_context("spawn")
    started, end = context.Event(), context.Event()
    process = context.Process(target=_bring, args=(store.root, "a second layer", started, end))
    process.start()
    assert started.wait(30)
    (temporary,) = blob(store, digest).parent.glob(".*.part")
    old(temporary)

    during = store.prune()
    end.set()
    process.join(30)

    assert during.removed == ()
    assert during.left_because == "another process is bringing a model"
    assert process.exitcode == 0
    assert store.has_blob(digest, size)
    assert names(store) == {digest[7:], sha256(b"a second layer").hexdigest()}


@pytest.mark.process
def test_prune_takes_what_a_killed_process_left(store: Store) -> None:
    context = multiprocessing.get_context("spawn")
    started, end = context.Event(), context.Event()
    process = context.Process(target=_bring, args=(store.root, "half", started, end))
    process.start()
    assert started.wait(30)
    process.kill()
    process.join(30)
    (temporary,) = (store.root / "blobs/sha256").glob(".*.part")

    assert names(store) == set()
    old(temporary)
    assert names(store) == {temporary.name}


def test_prune_leaves_blobs_while_skopeo_copies_into_the_store(store: Store) -> None:
    digest, size = put(store, b"skopeo's first blob")
    old(blob(store, digest))
    (store.root / "oci-put-blob123").write_bytes(b"half of its second")

    pruned = store.prune()

    assert (pruned.removed, pruned.left_because) == ((), "another process is bringing a model")
    assert store.has_blob(digest, size)


def test_prune_leaves_the_files_of_a_model_whose_manifest_is_damaged(store: Store) -> None:
    """A pull repairs a manifest in a moment, and must not need the weights again."""
    model = add(store, "a/b")
    for path in (store.root / "blobs/sha256").iterdir():
        old(path)
    damage(blob(store, model.digest))
    store.verify([], silent)

    pruned = store.prune()

    assert [each.path.name for each in pruned.removed] == [f"{model.digest[7:]}.damaged"]
    assert pruned.left_because is not None
    assert "dmrc verify" in pruned.left_because
    assert store.has_blob(model.manifest.layers[0].digest, model.manifest.layers[0].size_bytes)


def _add_and_remove(root: Path, number: int) -> None:
    store = Store(root)
    for index in range(8):
        with store.writing():
            add(store, f"m{number}:v{index}", gguf=f"{number} {index}".encode())
        if index % 2:
            store.remove(f"m{number}:v{index}")


@pytest.mark.process
def test_prune_among_writers_harms_no_model(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dmrc.store.garbage._GRACE_SECONDS", 0.0)
    context = multiprocessing.get_context("spawn")
    processes = [context.Process(target=_add_and_remove, args=(store.root, number)) for number in range(3)]
    for process in processes:
        process.start()
    while any(process.is_alive() for process in processes):
        if (store.root / "index.json").exists():
            store.prune()
    for process in processes:
        process.join(30)

    assert [process.exitcode for process in processes] == [0, 0, 0]
    assert len(store.models()) == 3 * 4
    assert store.verify([], silent).damaged == ()


def test_prune_takes_interrupted_pulls_and_leaves_those_that_go_on(store: Store) -> None:
    held = store.open_partial("sha256:" + "ab" * 32, 1000)
    assert held is not None
    with held as going_on:
        going_on.write(0, b"x" * 100)
        interrupted = store.open_partial("sha256:" + "cd" * 32, 1000)
        assert interrupted is not None
        with interrupted as left:
            left.write(0, b"y" * 100)

        (gone,) = store.prune().removed

        assert gone.path.name == f"sha256-{'cd' * 32}.data"
        assert {path.stem for path in (store.root / "partial").iterdir()} == {f"sha256-{'ab' * 32}"}


@pytest.mark.process
def test_usage_is_what_the_disk_gives_and_counts_a_file_with_two_names_once(store: Store, tmp_path: Path) -> None:
    split = write_tiny_llama(tmp_path / "split.gguf", split_max_tensors=8)
    model = Models(store).package(Parts(gguf=split), "split")
    variant = Models(store).package(Parts(base=model, context_size=9), "variant")
    before = store.usage()
    for each in (model, variant):
        store.files(each)
    put(store, b"n" * 50_000)

    after = store.usage()

    assert before.unused_bytes == 0
    assert after.models_bytes == before.models_bytes >= model.size_bytes
    assert 50_000 <= after.unused_bytes < 60_000
    counted = subprocess.run(["du", "-s", "-B1", store.root], capture_output=True, text=True, check=True).stdout
    directories = sum(path.stat().st_blocks * 512 for path in [store.root, *store.root.rglob("*")] if path.is_dir())
    assert after.models_bytes + after.unused_bytes == int(counted.split()[0]) - directories
