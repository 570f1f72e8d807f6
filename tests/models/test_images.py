"""Models as runnable images: what other programs see of them, and the way back."""

from __future__ import annotations

import hashlib
import json
import subprocess
import tarfile
from pathlib import Path

import pytest

from dmrc.artifact import ImagedModel, Manifest
from dmrc.errors import ArtifactError
from dmrc.sources import Transfer
from dmrc.sources.download import download
from dmrc.sources.image_model import RangeOrigin
from dmrc.store import Store
from tests.dmrc_command import Dmrc
from tests.docker_engine import DockerEngine
from tests.models.whole_blob import WholeBlob
from tests.registry import RegistryServer
from tests.tiny_gguf import write_tiny_llama
from tests.tiny_safetensors import write_least_directory


@pytest.fixture
def name(dmrc: Dmrc, registry: RegistryServer, tmp_path: Path) -> str:
    """A model with a template and a licence, whose image is in the registry."""
    gguf = write_tiny_llama(tmp_path / "tiny.gguf")
    (tmp_path / "chat.jinja").write_text("{{ messages }}")
    (tmp_path / "LICENSE").write_text("as you like")
    name = f"{registry.address}/me/tiny:v1"
    beside = ["--chat-template", tmp_path / "chat.jinja", "--license", tmp_path / "LICENSE"]
    dmrc.ok("package", "--gguf", gguf, *beside, name)
    return name


def test_an_image_has_one_layer_with_the_files_under_plain_names(
    dmrc: Dmrc, name: str, registry: RegistryServer, tmp_path: Path
) -> None:
    dmrc.ok("push", "--as", "image", name)

    inspected = json.loads(
        subprocess.run(
            ["skopeo", "inspect", "--tls-verify=false", f"docker://{name}"], check=True, capture_output=True
        ).stdout
    )
    assert inspected["Os"] == "linux"
    assert len(inspected["Layers"]) == 1
    subprocess.run(
        ["skopeo", "copy", "-q", "--src-tls-verify=false", f"docker://{name}", f"dir:{tmp_path}/image"], check=True
    )
    (layer,) = inspected["Layers"]
    with tarfile.open(tmp_path / "image" / layer.removeprefix("sha256:")) as archive:
        files = {each.name: each for each in archive}
        assert set(files) >= {"model.gguf", "template.jinja"}
        assert {(each.uid, each.mtime, each.mode) for each in files.values()} == {(0, 0, 0o444)}
        model = archive.extractfile(files["model.gguf"])
        assert model is not None
        assert model.read() == (tmp_path / "tiny.gguf").read_bytes()
    config = json.loads(
        subprocess.run(
            ["skopeo", "inspect", "--config", "--tls-verify=false", f"docker://{name}"], check=True, capture_output=True
        ).stdout
    )
    assert config["rootfs"]["diff_ids"] == [layer]  # it is not compressed


def test_an_image_is_the_same_bytes_again_and_comes_back_as_the_model(dmrc: Dmrc, name: str) -> None:
    model = json.loads(dmrc.ok("inspect", name))["id"]

    first = dmrc.ok("push", "--as", "image", name)
    assert dmrc.ok("push", "--as", "image", name) == first
    dmrc.ok("rm", name)
    pulled = dmrc.ok("pull", name)

    assert pulled.strip() == model != first.strip()
    dmrc.ok("verify", name)
    dmrc.ok("rm", name)
    by_digest = f"{name.rpartition(':')[0]}@{first.strip()}"
    assert dmrc.ok("pull", by_digest).strip() == model


def test_a_split_model_and_a_directory_come_back(dmrc: Dmrc, registry: RegistryServer, tmp_path: Path) -> None:
    split = write_tiny_llama(tmp_path / "split.gguf", split_max_tensors=8)
    directory = write_least_directory(tmp_path / "directory")
    for kind, option, path in (("split", "--gguf", split), ("directory", "--safetensors-dir", directory)):
        name = f"{registry.address}/me/{kind}:v1"
        digest = dmrc.ok("package", option, path, name)
        dmrc.ok("push", "--as", "image", name)
        dmrc.ok("rm", name)

        assert dmrc.ok("pull", "--files", tmp_path / "out" / kind, name) == digest
        assert any((tmp_path / "out" / kind).iterdir())


def test_a_server_that_knows_no_ranges_gives_a_file_too(tmp_path: Path) -> None:
    data = b"head" + b"the file" * 100_000 + b"tail"
    wanted = data[4:-4]
    digest = f"sha256:{hashlib.sha256(wanted).hexdigest()}"
    store = Store(tmp_path / "store")

    assert download(RangeOrigin(WholeBlob(data), 4), digest, len(wanted), Transfer(store)) == digest


def test_files_are_links_and_stay(dmrc: Dmrc, name: str, tmp_path: Path) -> None:
    dmrc.ok("push", name)

    for _ in range(2):
        dmrc.ok("pull", "--files", dmrc.home / "out", name)

    assert {path.name for path in (dmrc.home / "out").iterdir()} == {"model.gguf", "template.jinja"}
    assert (dmrc.home / "out/model.gguf").stat().st_nlink > 1
    (tmp_path / "taken").mkdir()
    (tmp_path / "taken/mine").write_text("")
    assert "holds something else" in dmrc.run("pull", "--files", tmp_path / "taken", name).stderr


def test_another_digest_than_the_expected_one_fails(dmrc: Dmrc, name: str) -> None:
    dmrc.ok("push", name)

    done = dmrc.run("pull", "--expect", f"sha256:{'0' * 64}", name)

    assert done.returncode != 0
    assert "not sha256:000" in done.stderr


def test_docker_pulls_it_and_containerd_mounts_it(
    dmrc: Dmrc, name: str, docker_engine: DockerEngine, tmp_path: Path
) -> None:
    dmrc.ok("push", "--as", "image", name)

    docker_engine.docker("pull", name)
    docker_engine.docker("rmi", name)
    socket = docker_engine.directory / "exec/containerd/containerd.sock"
    ctr = ["ctr", "--address", str(socket), "--namespace", "dmrc"]
    subprocess.run([*ctr, "images", "pull", "--plain-http", name], check=True, capture_output=True)
    mounted = tmp_path / "mounted"
    mounted.mkdir()
    subprocess.run([*ctr, "images", "mount", name, str(mounted)], check=True, capture_output=True)
    try:
        assert (mounted / "model.gguf").read_bytes() == (tmp_path / "tiny.gguf").read_bytes()
        assert (mounted / "template.jinja").read_text() == "{{ messages }}"
    finally:
        subprocess.run([*ctr, "images", "unmount", "--rm", str(mounted)], check=True, capture_output=True)
        subprocess.run([*ctr, "images", "rm", name], check=True, capture_output=True)


def _image(**changes: object) -> tuple[bytes, bytes]:
    """Return manifest and config of an image with a model of one file of 3 bytes."""
    blob = {"mediaType": "application/vnd.docker.ai.gguf.v3", "digest": f"sha256:{'1' * 64}", "size": 3}
    own = {**blob, "mediaType": "application/vnd.docker.ai.model.config.v0.1+json"}
    model = json.dumps({"schemaVersion": 2, "config": own, "layers": [blob]}).encode()
    imaged = ImagedModel(model, b"{}", {blob["digest"]: 512, **changes.get("places", {})})  # type: ignore[dict-item]
    layer = {
        "mediaType": changes.get("media_type", "application/vnd.oci.image.layer.v1.tar"),
        "digest": f"sha256:{'2' * 64}",
        "size": 2048,
    }
    manifest = json.dumps({"schemaVersion": 2, "layers": [layer] * int(str(changes.get("layers", 1)))}).encode()
    return manifest, imaged.image_config(str(layer["digest"]))


def test_what_an_image_says_of_its_model_is_read_back() -> None:
    imaged, layer = ImagedModel.parse(*_image(), name="x")

    (blob,) = Manifest.parse(imaged.manifest, name="x").layers
    assert (imaged.places[blob.digest], layer.size_bytes) == (512, 2048)


@pytest.mark.parametrize(
    "changes",
    [
        {"places": {f"sha256:{'1' * 64}": 2046}},
        {"places": {f"sha256:{'1' * 64}": -1}},
        {"places": {f"sha256:{'1' * 64}": "0"}},
        {"layers": 2},
        {"layers": 0},
        {"media_type": "application/vnd.oci.image.layer.v1.tar+gzip"},
    ],
)
def test_an_image_that_lies_is_refused(changes: dict[str, object]) -> None:
    with pytest.raises(ArtifactError, match="'x' is "):
        ImagedModel.parse(*_image(**changes), name="x")


def test_another_image_is_called_one() -> None:
    with pytest.raises(ArtifactError, match="'x' is a container image, not a model"):
        ImagedModel.parse(b'{"layers": []}', b'{"config": {"Labels": {"a": "b"}}}', name="x")
