"""The store as an OCI image layout that other programs read and write: skopeo, and hands."""

from __future__ import annotations

import json
import subprocess
import threading
import time
from pathlib import Path

import pytest

from dmrc.errors import ArtifactError, ModelNotFoundError
from dmrc.store import Store
from tests.registry import MANIFEST, RegistryServer
from tests.store.test_store import add, put


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "store")


def skopeo(source: str, target: str) -> None:
    plain = ["--src-tls-verify=false", "--dest-tls-verify=false"]
    command = ["skopeo", "--insecure-policy", "copy", "--quiet", *plain, source, target]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr


def append_to_index(store: Store, tag: str, digest: str, size: int) -> None:
    """Write the index as skopeo does: in place, without our lock and annotations."""
    path = store.root / "index.json"
    document = json.loads(path.read_text())
    annotations = {"org.opencontainers.image.ref.name": tag}
    document["manifests"].append({"mediaType": MANIFEST, "digest": digest, "size": size, "annotations": annotations})
    path.write_text(json.dumps(document))


def test_skopeo_copies_out_of_the_store_and_what_comes_back_is_the_same(
    store: Store, registry: RegistryServer, tmp_path: Path
) -> None:
    model = add(store, "ai/tiny:v1")
    name = f"{registry.address}/ai/tiny:v1"

    skopeo(f"oci:{store.root}:docker.io/ai/tiny:v1", f"docker://{name}")
    other = Store(tmp_path / "other")
    skopeo(f"docker://{name}", f"oci:{other.root}:{name}")

    found = other.resolve(name)
    assert (found.digest, found.tags) == (model.digest, (name,))
    assert other.files(found).path.read_bytes() == b"weights"
    assert abs(found.pulled_at - time.time()) < 300
    assert other.prune().removed == ()


def test_what_skopeo_copies_into_the_store_is_a_model_like_others(store: Store, registry: RegistryServer) -> None:
    first = add(store, "ai/first", gguf=b"another")
    digest = registry.push_model("ai/tiny:v1", b"GGUF of the registry")
    source = f"docker://{registry.address}/ai/tiny:v1"

    for tag in ("ai/tiny:v1", "tiny", "registry.example.com:5000/ai/tiny:v2"):
        skopeo(source, f"oci:{store.root}:{tag}")

    model = store.resolve("tiny:v1")
    tags = ("docker.io/ai/tiny:latest", "docker.io/ai/tiny:v1", "registry.example.com:5000/ai/tiny:v2")
    assert (model.digest, model.tags) == (digest, tags)
    assert store.files(model).path.read_bytes() == b"GGUF of the registry"
    assert [each.digest for each in store.models()] == [first.digest, digest]
    assert store.remove("tiny").untagged == ("docker.io/ai/tiny:latest",)
    assert store.remove(digest, force=True).deleted == (digest,)
    assert store.models() == [first]


def test_skopeo_moves_a_tag_that_it_writes_in_another_way(store: Store, registry: RegistryServer) -> None:
    """We write `docker.io/ai/tiny:latest`, a user of skopeo may write `tiny`: two strings, one tag."""
    old = add(store, "tiny", gguf=b"old")
    new = registry.push_model("ai/tiny:latest", b"GGUF, newer")

    skopeo(f"docker://{registry.address}/ai/tiny", f"oci:{store.root}:tiny")

    assert store.resolve("tiny").digest == new
    assert store.resolve(old.digest).tags == ()
    assert store.remove("tiny").deleted == (new,)
    with pytest.raises(ModelNotFoundError):
        store.resolve("tiny")
    assert store.resolve(old.digest).tags == ()


def test_an_index_that_is_being_written_in_place_is_read_when_it_is_whole(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("dmrc.store.layout._HALF_WRITTEN_SECONDS", 30.0)  # the writer is a thread of this process
    model = add(store, "tiny")
    path = store.root / "index.json"
    whole = path.read_bytes()
    path.write_bytes(whole[:100])
    writer = threading.Timer(0.1, path.write_bytes, [whole])
    writer.start()

    found = store.resolve("tiny")
    writer.join()

    assert found == model


def test_what_is_no_model_is_left_alone_and_told_as_such(store: Store) -> None:
    model = add(store, "tiny")
    layer = put(store, b"a layer of an image")
    config = put(store, b"{}")
    image = {
        "schemaVersion": 2,
        "mediaType": MANIFEST,
        "config": {"mediaType": "application/vnd.oci.image.config.v1+json", "digest": config[0], "size": config[1]},
        "layers": [{"mediaType": "application/vnd.oci.image.layer.v1.tar", "digest": layer[0], "size": layer[1]}],
    }
    append_to_index(store, "busybox:latest", *put(store, json.dumps(image).encode()))

    with pytest.raises(ArtifactError, match="is a container image, not a model"):
        store.resolve("busybox")
    assert store.models() == [model]
    store.remove("tiny")
    assert store.has_blob(*layer)
    assert store.remove("busybox").untagged == ("docker.io/ai/busybox:latest",)
    assert not store.has_blob(*layer)


def test_entries_that_cannot_be_read_stay_in_the_index(store: Store) -> None:
    model = add(store, "tiny")
    append_to_index(store, "not a tag", model.digest, 1)
    append_to_index(store, "other:v1", "sha512:" + "ab" * 64, 1)

    add(store, "second", gguf=b"second")

    assert store.resolve("tiny").tags == ("docker.io/ai/tiny:latest",)
    kept = [entry["annotations"] for entry in json.loads((store.root / "index.json").read_text())["manifests"]]
    assert {"org.opencontainers.image.ref.name": "other:v1"} in kept
