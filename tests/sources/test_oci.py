import time
from pathlib import Path

import pytest

from dmrc import artifact
from dmrc.errors import ArtifactError, ModelNotFoundError, RegistryAuthError, RegistryError
from dmrc.sources import ProgressEvent, Transfer
from dmrc.sources.oci import OciSource
from dmrc.store import Store
from tests.registry import MANIFEST, RegistryServer
from tests.sources.misbehaving import MODEL, WEIGHTS, digest_of, log_in


def test_a_model_comes_with_all_its_blobs_and_progress(
    registry: RegistryServer, source: OciSource, store: Store
) -> None:
    digest = registry.push_model("ai/tiny:latest", WEIGHTS)
    events: list[ProgressEvent] = []

    manifest = source.fetch(f"{registry.address}/ai/tiny", Transfer(store, events.append))

    assert digest_of(manifest) == digest
    assert store.files(store.add(manifest)).path.read_bytes() == WEIGHTS
    last = events[-1]
    assert (last.status, last.layer, last.current_bytes) == ("Pull complete", digest_of(WEIGHTS), len(WEIGHTS))


def test_a_model_in_an_index_and_by_digest(registry: RegistryServer, source: OciSource, store: Store) -> None:
    digest = registry.push_model("ai/tiny:one", WEIGHTS)
    size = len(source.fetch(f"{registry.address}/ai/tiny@{digest}", Transfer(store)))
    entry = {"mediaType": MANIFEST, "digest": digest, "size": size}
    index = {"schemaVersion": 2, "mediaType": artifact.INDEX, "manifests": [entry]}
    registry.push_manifest("ai/tiny", "index", index, artifact.INDEX)

    manifest = source.fetch(f"{registry.address}/ai/tiny:index", Transfer(store))

    assert digest_of(manifest) == digest


def test_a_model_that_is_not_there_is_named(registry: RegistryServer, source: OciSource, store: Store) -> None:
    with pytest.raises(ModelNotFoundError) as caught:
        source.fetch(f"{registry.address}/ai/nothing:v1", Transfer(store))

    assert f"model '{registry.address}/ai/nothing:v1' is not in the registry '{registry.address}'" in str(caught.value)


def test_a_container_image_is_refused_before_its_layers(
    registry: RegistryServer, source: OciSource, store: Store
) -> None:
    config = registry.push_blob("library/alpine", b"{}")
    image = {"mediaType": "application/vnd.oci.image.config.v1+json", "digest": config, "size": 2}
    registry.push_manifest("library/alpine", "latest", {**MODEL, "config": image, "layers": []})

    with pytest.raises(ArtifactError, match="is a container image, not a model"):
        source.fetch(f"{registry.address}/library/alpine", Transfer(store))


def test_login_is_needed_refused_and_taken(
    registry_with_login: RegistryServer, source: OciSource, store: Store, docker_config: Path
) -> None:
    host = registry_with_login.address
    registry_with_login.push_model("ai/tiny:latest", WEIGHTS)

    with pytest.raises(RegistryAuthError, match=rf"wants a login .* Run: docker login {host}"):
        source.fetch(f"{host}/ai/tiny", Transfer(store))
    log_in(docker_config, host, "wrong")
    with pytest.raises(RegistryAuthError, match="refuses the credentials"):
        source.fetch(f"{host}/ai/tiny", Transfer(store))
    log_in(docker_config, host)
    source.fetch(f"{host}/ai/tiny", Transfer(store))


def test_a_registry_that_is_down_is_an_error_soon(registry: RegistryServer, source: OciSource, store: Store) -> None:
    registry.stop()
    started = time.monotonic()

    with pytest.raises(RegistryError, match="cannot be reached") as caught:
        source.fetch(f"{registry.address}/ai/tiny", Transfer(store))

    assert caught.value.exit_code == 4
    assert time.monotonic() - started < 30


def test_hugging_face_is_left_to_its_own_source(source: OciSource) -> None:
    assert source.recognize("hf.co/org/model") is None
    assert str(source.recognize("gemma3")) == "docker.io/ai/gemma3:latest"
