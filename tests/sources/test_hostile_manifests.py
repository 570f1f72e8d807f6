"""Manifests that are made to do harm: refused by name, before a large byte has come, and nothing is left of them."""

import json
import tracemalloc
from http.server import BaseHTTPRequestHandler

import pytest

from dmrc import artifact
from dmrc.errors import ArtifactError, DigestMismatchError, DmrcError, StoreError
from dmrc.sources import Transfer
from dmrc.sources.oci import OciSource
from dmrc.store import Store
from tests.registry import MANIFEST
from tests.sources.misbehaving import CONFIG, LAYER, MODEL, WEIGHTS, Misbehaving, digest_of, respond, serve

MOST_MEMORY_BYTES = 40 << 20
SAFETENSORS = {**LAYER, "mediaType": "application/vnd.docker.ai.safetensors"}
FILE = {**LAYER, "mediaType": "application/vnd.docker.ai.model.file"}
DDUF = {**LAYER, "mediaType": "application/vnd.docker.ai.dduf"}


def with_layer(**changes: object) -> dict:
    return {**MODEL, "layers": [{**LAYER, **changes}]}


def with_config(**changes: object) -> dict:
    return {**MODEL, "config": {**MODEL["config"], **changes}}


def titled(name: str) -> dict:
    return with_layer(annotations={"org.opencontainers.image.title": name})


def directory(*names: str) -> dict:
    """Return the manifest of a model whose weights have no name, and its other files these."""
    beside = [
        {**FILE, "digest": digest_of(b"%d" % number), "annotations": {"org.cncf.model.filepath": name}}
        for number, name in enumerate(names)
    ]
    return {**MODEL, "layers": [SAFETENSORS, *beside]}


def files(store: Store) -> list[str]:
    return [path.name for path in store.root.rglob("*") if path.is_file() and path.name != "oci-layout"]


def pull(source: OciSource, store: Store, manifest: dict, **more: object) -> tuple[DmrcError, list[str]]:
    """Return the error of the pull, and the paths that were asked for."""
    with Misbehaving(serve(manifest=manifest, **more)) as server:
        with pytest.raises(DmrcError) as caught:
            source.fetch(f"{server.address}/a/b", Transfer(store))
        return caught.value, [path for path, _ in server.requests]


@pytest.mark.parametrize(
    ("manifest", "reason"),
    [
        (titled("../../etc/cron.d/x"), "must be named by a plain relative path"),
        (titled("/etc/passwd"), "must be named by a plain relative path"),
        (titled("a/../../b.gguf"), "must be named by a plain relative path"),
        (titled("x\x00.gguf"), "must be named by a plain relative path"),
        (with_layer(digest="sha256:../../../../etc/passwd"), "must be named by a SHA-256 digest"),
        (with_layer(digest="md5:abc"), "must be named by a SHA-256 digest"),
        (with_layer(size=-1), "the size -1"),
        (with_layer(size=1 << 60), "are accepted"),
        (with_layer(size="5"), "the size '5'"),
        (with_config(size=10 << 30), f"at most {artifact.MAX_DOCUMENT_BYTES} bytes"),
        ({**MODEL, "layers": [LAYER] * 5000}, "at most 512 layers"),
        ({**MODEL, "layers": [LAYER, {**LAYER, "size": 5}]}, "two sizes"),
        ({**MODEL, "layers": "all"}, "layers"),
        ({**MODEL, "layers": [DDUF]}, "no GGUF file and no safetensors; models in other formats are not served"),
        (directory("../config.json"), "must be named by a plain relative path"),
        (directory("/etc/passwd"), "must be named by a plain relative path"),
        (directory("a//b"), "must be named by a plain relative path"),
        (directory("config.json", "config.json"), "two files for the place of 'config.json'"),
        (directory("a/b", "a"), "two files for the place of 'a'"),
        (directory("model.safetensors"), "two files for the place of 'model.safetensors'"),
    ],
)
def test_a_hostile_manifest_is_refused_before_any_blob(
    manifest: dict, reason: str, source: OciSource, store: Store
) -> None:
    error, paths = pull(source, store, manifest)

    assert isinstance(error, ArtifactError)
    assert "a/b" in str(error)
    assert reason in str(error)
    assert paths == ["/v2/a/b/manifests/latest"]
    assert files(store) == []


@pytest.mark.parametrize("length", [None, len(CONFIG)])
def test_a_config_that_does_not_end_is_not_read_to_its_end(length: int | None, source: OciSource, store: Store) -> None:
    """Its manifest says some bytes; what the registry sends are ten GB."""
    sent = [0]

    def first(handler: BaseHTTPRequestHandler) -> bool:
        if not handler.path.endswith(digest_of(CONFIG)):
            return False
        handler.send_response(200)
        handler.send_header("Content-Length", str(10 << 30))
        handler.end_headers()
        for _ in range(10 << 10):
            handler.wfile.write(b" " * (1 << 20))
            sent[0] += 1 << 20
        return True

    tracemalloc.start()
    try:
        error, _ = pull(source, store, MODEL, first=first)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()

    assert isinstance(error, (ArtifactError, DigestMismatchError))
    assert sent[0] < MOST_MEMORY_BYTES
    assert peak < MOST_MEMORY_BYTES
    assert files(store) == []


@pytest.mark.parametrize("size", [len(WEIGHTS) - 1, len(WEIGHTS) + 1, 10])
def test_a_layer_whose_size_is_a_lie_is_refused(size: int, source: OciSource, store: Store) -> None:
    error, _ = pull(source, store, with_layer(size=size))

    assert isinstance(error, DigestMismatchError)
    assert digest_of(WEIGHTS) in str(error)
    assert files(store) == []


def test_a_layer_larger_than_the_disk_is_refused_before_its_first_byte(source: OciSource, store: Store) -> None:
    error, paths = pull(source, store, with_layer(size=16 << 40))

    assert isinstance(error, StoreError)
    assert f"is full: {16 << 40} bytes are needed" in str(error)
    assert not any(path.endswith(digest_of(WEIGHTS)) for path in paths)


def index_of(*entries: dict) -> dict:
    return {"schemaVersion": 2, "mediaType": artifact.INDEX, "manifests": list(entries)}


@pytest.mark.parametrize(
    ("entries", "most_requests"),
    [
        ([{"mediaType": artifact.INDEX, "digest": "sha256:" + "ab" * 32, "size": 10}], 1),
        ([{"mediaType": MANIFEST, "digest": "sha256:" + "ab" * 32, "size": 10}], 2),
        ([{"mediaType": MANIFEST, "digest": "sha256:" + "ab" * 32, "size": 10 << 30}], 1),
        ([{"mediaType": MANIFEST, "digest": "sha256:" + "ab" * 32, "size": 10}] * 5000, 1),
        ([], 1),
    ],
)
def test_an_index_that_leads_nowhere_is_left_soon(
    entries: list, most_requests: int, source: OciSource, store: Store
) -> None:
    """The server answers every manifest with the index itself: a loop for who follows it."""
    index = json.dumps(index_of(*entries)).encode()

    def first(handler: BaseHTTPRequestHandler) -> bool:
        if "/manifests/" not in handler.path:
            return False
        respond(handler, 200, index, Content_Type=artifact.INDEX)
        return True

    error, paths = pull(source, store, MODEL, first=first)

    assert isinstance(error, (ArtifactError, DigestMismatchError))
    assert len(paths) <= most_requests
    assert files(store) == []


def test_an_index_that_names_another_index_as_a_manifest_is_refused(source: OciSource, store: Store) -> None:
    inner = json.dumps(index_of()).encode()
    outer = json.dumps(index_of({"mediaType": MANIFEST, "digest": digest_of(inner), "size": len(inner)})).encode()

    def first(handler: BaseHTTPRequestHandler) -> bool:
        if "/manifests/" not in handler.path:
            return False
        respond(handler, 200, inner if "sha256:" in handler.path else outer, Content_Type=artifact.INDEX)
        return True

    error, paths = pull(source, store, MODEL, first=first)

    assert isinstance(error, ArtifactError)
    assert len(paths) == 2
    assert files(store) == []
