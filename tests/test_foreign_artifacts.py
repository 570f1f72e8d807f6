"""Models that other programs made, as `oras push` and `skopeo copy` leave them in a registry: pulled, told, run."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest

from tests.dmrc_command import Dmrc
from tests.registry import MANIFEST, RegistryServer
from tests.tiny_gguf import CHAT_TEMPLATE, write_tiny_llama

CNCF = "application/vnd.cncf.model"


@pytest.fixture(scope="session")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tiny_llama(tmp_path_factory.mktemp("gguf") / "tiny.gguf", chat_template=None)


@pytest.fixture(scope="session")
def shards(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    first = write_tiny_llama(tmp_path_factory.mktemp("gguf") / "tiny.gguf", split_max_tensors=8)
    return sorted(first.parent.glob("tiny-0000*.gguf"))


def push(
    registry: RegistryServer, name: str, layers: list[tuple[str, str, bytes]], config: dict[str, object]
) -> dict[str, object]:
    """Push a model in ModelPack's form; each layer is its kind, its path and its content."""
    described = [
        {
            "mediaType": f"{CNCF}.{kind}",
            "digest": registry.push_blob(name, data),
            "size": len(data),
            "annotations": {"org.cncf.model.filepath": path},
        }
        for kind, path, data in layers
    ]
    diff_ids = [layer["digest"] for layer in described]
    encoded = json.dumps({"descriptor": {}, "modelfs": {"type": "layers", "diffIds": diff_ids}, "config": config})
    manifest: dict[str, object] = {
        "schemaVersion": 2,
        "mediaType": MANIFEST,
        "artifactType": f"{CNCF}.manifest.v1+json",
        "config": {
            "mediaType": f"{CNCF}.config.v1+json",
            "digest": registry.push_blob(name, encoded.encode()),
            "size": len(encoded),
        },
        "layers": described,
        "annotations": {"org.opencontainers.image.created": "2025-01-01T00:00:00Z"},
    }
    registry.push_manifest(name, "v1", manifest)
    return manifest


@pytest.mark.engine
def test_a_modelpack_model_is_pulled_told_and_run(dmrc: Dmrc, registry: RegistryServer, whole: Path) -> None:
    layers = [
        ("doc.v1.raw", "README.md", b"# Tiny"),
        ("weight.config.v1.raw", "chat_template.jinja", CHAT_TEMPLATE.encode()),
        ("weight.v1.raw", "sub/tiny.F16.gguf", whole.read_bytes()),
        ("doc.v1.raw", "LICENSE.txt", b"Do as you like."),
    ]
    config = {"architecture": "transformer", "format": "gguf", "paramSize": "141k", "precision": "fp16"}
    push(registry, "me/tiny", layers, config)
    name = f"{registry.address}/me/tiny:v1"

    dmrc.ok("pull", name)

    shown = json.loads(dmrc.ok("inspect", name))["config"]
    assert (shown["architecture"], shown["quantization"], shown["gguf"]["general.name"]) == ("llama", "F16", "Tiny")
    assert "context_size" not in shown
    assert "chat_template" in dmrc.ok("show", name)
    dmrc.ok("package", "--from", name, "--context-size", "128", "me/small")
    assert dmrc.ok("run", "me/small", "Hi").strip()


@pytest.mark.engine
def test_the_files_of_a_split_model_are_put_in_order_by_their_names(
    dmrc: Dmrc, registry: RegistryServer, shards: list[Path]
) -> None:
    layers = [("weight.v1.raw", path.name, path.read_bytes()) for path in reversed(shards)]
    push(registry, "me/split", layers, {"format": "gguf"})
    name = f"{registry.address}/me/split:v1"

    dmrc.ok("pull", name)

    dmrc.ok("package", "--from", name, "--context-size", "128", "me/small")
    assert dmrc.ok("run", "me/small", "Hi").strip()


def test_skopeo_brings_a_modelpack_model_into_the_store_and_back_unchanged(
    dmrc: Dmrc, registry: RegistryServer, whole: Path
) -> None:
    manifest = push(registry, "me/tiny", [("weight.v1.raw", "tiny.gguf", whole.read_bytes())], {"format": "gguf"})
    store, plain = dmrc.home / "store", ["--src-tls-verify=false", "--dest-tls-verify=false"]
    dmrc.ok("list")

    def copy(source: str, target: str) -> None:
        command = ["skopeo", "--insecure-policy", "copy", "--quiet", *plain, source, target]
        subprocess.run(command, check=True, timeout=60)

    copy(f"docker://{registry.address}/me/tiny:v1", f"oci:{store}:me/tiny:v1")

    digest = json.loads(dmrc.ok("inspect", "me/tiny:v1"))["id"]
    assert json.loads((store / "blobs/sha256" / digest[7:]).read_text()) == manifest
    assert dmrc.ok("verify").startswith("3 files are whole")
    dmrc.ok("tag", "me/tiny:v1", "me/again")
    copy(f"oci:{store}:docker.io/me/again:latest", f"docker://{registry.address}/me/again:v1")
    dmrc.ok("rm", "-f", digest)
    assert dmrc.ok("pull", f"{registry.address}/me/again:v1").strip() == digest
