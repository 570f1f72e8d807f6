"""Pushing to a real registry: what is sent, what is not, and how it fails."""

import json
import subprocess
from pathlib import Path

import pytest

from dmrc.errors import (
    InputError,
    InvalidReferenceError,
    ModelNotFoundError,
    RegistryAuthError,
    RegistryError,
)
from dmrc.models import Models, Parts
from dmrc.reference import Reference
from dmrc.sources import ProgressEvent
from dmrc.sources.credentials import DockerCredentials
from dmrc.sources.oci import OciSource
from dmrc.store import BlobMissingError, Store, StoredModel
from tests.registry import RegistryServer
from tests.sources.misbehaving import log_in
from tests.tiny_gguf import write_tiny_llama


class Sender:
    """A store with one model, and a pusher that keeps what it tells."""

    def __init__(self, root: Path) -> None:
        self.store = Store(root / "store")
        self.docker_config = root / "docker"
        self.docker_config.mkdir()
        self.source = OciSource(DockerCredentials(self.docker_config))
        self.events: list[ProgressEvent] = []
        self._root = root

    def package(self, *names: str, shards: bool = False) -> StoredModel:
        options = {"split_max_tensors": 8} if shards else {}
        gguf = write_tiny_llama(self._root / "tiny.gguf", **options)
        packaged = [Models(self.store).package(Parts(gguf=gguf), name) for name in names]
        return packaged[-1]

    def push(self, name: str) -> str:
        self.events.clear()
        return Models(self.store, lambda: [self.source]).push(name, self.events.append).digest

    @property
    def outcomes(self) -> set[str]:
        return {event.status for event in self.events if event.status not in ("Waiting", "Pushing")}


@pytest.fixture
def sender(tmp_path: Path) -> Sender:
    return Sender(tmp_path)


def pull(root: Path, name: str) -> str:
    """Pull into an empty store, and return the model's ID."""
    return Models(Store(root), lambda: [OciSource(DockerCredentials(root / "no-docker"))]).pull(name).digest


def uploads(registry: RegistryServer) -> list[str]:
    """Return the bodies that the registry took, from its log of requests."""
    log = (registry.root / "log").read_text()
    return [line for line in log.splitlines() if '"PATCH /v2/' in line]


@pytest.mark.parametrize("shards", [False, True])
def test_what_was_pushed_comes_back_with_the_same_id(
    sender: Sender, registry: RegistryServer, tmp_path: Path, shards: bool
) -> None:
    name = f"{registry.address}/me/tiny:v1"
    model = sender.package(name, shards=shards)

    digest = sender.push(name)

    assert digest == model.digest == pull(tmp_path / "other", name)
    assert sender.outcomes == {"Push complete"}
    sent = {event.layer: event.current_bytes for event in sender.events}
    assert sent == {blob.digest: blob.size_bytes for blob in model.manifest.blobs}
    skopeo = ["skopeo", "inspect", "--raw", "--tls-verify=false", f"docker://{name}"]
    assert subprocess.run(skopeo, capture_output=True, check=True).stdout == sender.store.document(model)


def test_what_the_registry_has_is_not_sent_again(sender: Sender, registry: RegistryServer) -> None:
    names = [f"{registry.address}/me/tiny:{tag}" for tag in ("v1", "v2")]
    sender.package(*names)
    sender.push(names[0])
    before = uploads(registry)

    again = sender.push(names[1])

    assert sender.outcomes == {"Already exists"}
    assert uploads(registry) == before
    assert again == pull(sender.store.root.parent / "other", names[1])


def test_a_repository_beside_gives_its_blobs(sender: Sender, registry: RegistryServer, tmp_path: Path) -> None:
    first, second = f"{registry.address}/me/tiny:v1", f"{registry.address}/team/tiny:v1"
    sender.package(first, second, "me/elsewhere")
    sender.push(first)
    before = uploads(registry)

    digest = sender.push(second)

    assert sender.outcomes == {"Mounted from me/tiny"}
    assert uploads(registry) == before
    assert digest == pull(tmp_path / "other", second)


def test_a_name_that_only_the_store_knows_gives_nothing(sender: Sender, registry: RegistryServer) -> None:
    first, second = f"{registry.address}/me/tiny:v1", f"{registry.address}/team/tiny:v1"
    sender.package(first, second)

    sender.push(second)

    assert sender.outcomes == {"Push complete"}


def test_a_push_uses_the_login_of_docker(sender: Sender, registry_with_login: RegistryServer) -> None:
    name = f"{registry_with_login.address}/me/tiny:v1"
    model = sender.package(name)

    with pytest.raises(RegistryAuthError) as nobody:
        sender.push(name)
    log_in(sender.docker_config, registry_with_login.address, "wrong")
    with pytest.raises(RegistryAuthError) as stranger:
        sender.push(name)
    log_in(sender.docker_config, registry_with_login.address)

    assert sender.push(name) == model.digest
    host = registry_with_login.address
    asked = f"model '{name}' cannot be pushed: registry '{host}'"
    assert str(nobody.value).startswith(f"{asked} wants a login for a push to '{name}'")
    assert str(stranger.value).startswith(f"{asked} refuses the credentials for a push to '{name}'")
    assert nobody.value.remedy == stranger.value.remedy == f"Run: docker login {host}"


def test_a_name_moves_only_when_all_is_there(sender: Sender, registry: RegistryServer, tmp_path: Path) -> None:
    name = f"{registry.address}/me/tiny:v1"
    old = registry.push_model("me/tiny:v1", write_tiny_llama(tmp_path / "old.gguf", seed=7))
    model = sender.package(name, shards=True)
    kept = sender.store.open_blob

    def fail_at_the_last(digest: str, size_bytes: int) -> object:
        if digest == model.manifest.layers[-1].digest:
            raise BlobMissingError("it was removed meanwhile")
        return kept(digest, size_bytes)

    sender.store.open_blob = fail_at_the_last  # type: ignore[method-assign]
    with pytest.raises(BlobMissingError):
        sender.push(name)

    assert pull(tmp_path / "other", name) == old


def test_a_registry_that_goes_away_in_the_middle_is_an_error(sender: Sender, registry: RegistryServer) -> None:
    name = f"{registry.address}/me/tiny:v1"
    sender.package(name)
    models = Models(sender.store, lambda: [sender.source])

    with pytest.raises(RegistryError, match=f"'{name}' cannot be pushed: registry '{registry.address}' cannot be rea"):
        models.push(name, lambda _event: registry.stop())


def test_a_registry_that_comes_back_gets_it_all(sender: Sender, registry: RegistryServer, tmp_path: Path) -> None:
    name = f"{registry.address}/me/tiny:v1"
    sender.package(name)
    restarted: list[ProgressEvent] = []

    def restart(event: ProgressEvent) -> None:
        if not restarted:
            restarted.append(event)
            registry.stop()
            registry.start()

    digest = Models(sender.store, lambda: [sender.source]).push(name, restart).digest

    assert restarted
    assert digest == pull(tmp_path / "other", name)


def test_only_a_tag_can_be_pushed(sender: Sender) -> None:
    model = sender.package("localhost:1/me/tiny:v1")

    for name in (model.digest, model.digest[7:19], f"me/tiny@{model.digest}"):
        with pytest.raises(InputError, match="is not a tag") as caught:
            sender.push(name)
        assert "localhost:1/me/tiny:v1" in str(caught.value.remedy)
    with pytest.raises(ModelNotFoundError, match="model 'me/other' is not in the store"):
        sender.push("me/other")
    with pytest.raises(InvalidReferenceError, match="is empty"):
        sender.push(" ")


def test_a_place_that_takes_no_models_says_so(sender: Sender) -> None:
    class Shelf:
        name = "shelf"

        def recognize(self, text: str) -> Reference | None:
            return Reference.parse(text)

        def fetch(self, text: str, transfer: object) -> bytes:
            return b""

    sender.package("me/tiny")

    with pytest.raises(InputError, match="'me/tiny' cannot be pushed: the source 'shelf' takes no models"):
        Models(sender.store, lambda: [Shelf()]).push("me/tiny")
    with pytest.raises(InputError, match="'me/tiny' cannot be pushed: nothing takes models by such a name"):
        Models(sender.store).push("me/tiny")


def test_a_model_with_a_file_missing_is_not_begun(sender: Sender) -> None:
    model = sender.package("localhost:1/me/tiny:v1")
    layer = model.manifest.layers[0].digest
    (sender.store.root / "blobs" / "sha256" / layer.removeprefix("sha256:")).unlink()

    with pytest.raises(BlobMissingError, match=f"blob {layer} of model 'localhost:1/me/tiny:v1' is missing"):
        sender.push("localhost:1/me/tiny:v1")


def test_a_manifest_of_another_maker_goes_as_it_came(sender: Sender, registry: RegistryServer, tmp_path: Path) -> None:
    """The ID is the digest of the manifest's own bytes, whatever their order and spaces."""
    source, target = f"{registry.address}/ai/tiny:v1", f"{registry.address}/me/copy:v2"
    came = registry.push_model("ai/tiny:v1", write_tiny_llama(tmp_path / "tiny.gguf"))
    Models(sender.store, lambda: [sender.source]).pull(source)
    sender.store.tag(sender.store.resolve(source), Reference.parse(target))

    assert sender.push(target) == came == pull(tmp_path / "other", target)
    assert json.loads(sender.store.document(sender.store.resolve(target)))["schemaVersion"] == 2
