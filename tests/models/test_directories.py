"""Models in the format safetensors as OCI artifacts: ours, and those that Docker Model Runner makes."""

from __future__ import annotations

import io
import json
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest

from dmrc.errors import ArtifactError
from dmrc.store import Store
from tests.dmrc_command import Dmrc
from tests.registry import MANIFEST, RegistryServer
from tests.tiny_safetensors import write_tiny_llama_directory

DOCKER = "application/vnd.docker.ai"
CNCF = "application/vnd.cncf.model"
Layer = tuple[str, str | None, bytes]


@pytest.fixture
def files(tmp_path: Path) -> dict[str, bytes]:
    """The files of a model in two files of weights, one of its small files in a directory below."""
    directory = write_tiny_llama_directory(tmp_path / "tiny", shard_count=2)
    (directory / "1_Pooling").mkdir()
    (directory / "1_Pooling/config.json").write_text("{}\n")
    return content(directory)


def content(directory: Path) -> dict[str, bytes]:
    """Return the files of a directory by their relative paths."""
    return {
        path.relative_to(directory).as_posix(): path.read_bytes() for path in directory.rglob("*") if path.is_file()
    }


def stored(dmrc: Dmrc, name: str) -> dict[str, bytes]:
    """Return the files of a model in the store, as an engine gets them."""
    store = Store(dmrc.home / "store")
    return content(store.files(store.resolve(name)).path)


def push(
    registry: RegistryServer,
    name: str,
    layers: list[Layer],
    form: str = "docker",
    version: str = "v0.1",
    **more: object,
) -> str:
    """Push a model of layers, each with its media type, its path and its content; return its reference."""
    described = [
        {
            "mediaType": media_type,
            "digest": registry.push_blob(name, data),
            "size": len(data),
            **({"annotations": {"org.cncf.model.filepath": path}} if path else {}),
        }
        for media_type, path, data in layers
    ]
    is_docker = form == "docker"
    said = {"format": "safetensors", **more} if is_docker else {}
    config = json.dumps({"config": said, "descriptor": {}}).encode()
    media_type = f"{DOCKER}.model.config.{version}+json" if is_docker else f"{CNCF}.config.v1+json"
    manifest = {
        "schemaVersion": 2,
        "mediaType": MANIFEST,
        "config": {"mediaType": media_type, "digest": registry.push_blob(name, config), "size": len(config)},
        "layers": described,
    }
    registry.push_manifest(name, "v1", manifest)
    return f"{registry.address}/{name}:v1"


def tar(files: dict[str, bytes], change: Callable[[tarfile.TarInfo], None] = lambda _entry: None) -> bytes:
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w") as archive:
        for name, data in files.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(data)
            change(entry)
            archive.addfile(entry, io.BytesIO(data))
    return stream.getvalue()


def test_a_chat_template_that_is_no_text_is_no_traceback(dmrc: Dmrc, files: dict[str, bytes], tmp_path: Path) -> None:
    (tmp_path / "tiny" / "chat_template.jinja").write_bytes(b"\xff\xfe{{ messages }}")
    dmrc.ok("package", "--safetensors-dir", tmp_path / "tiny", "me/tiny")

    assert "Capabilities:  completion" in dmrc.ok("show", "me/tiny")


@pytest.mark.parametrize("form", ["docker", "cncf"])
def test_what_is_packaged_and_pushed_is_pulled_byte_for_byte(
    dmrc: Dmrc, registry: RegistryServer, files: dict[str, bytes], tmp_path: Path, form: str
) -> None:
    name = f"{registry.address}/me/tiny"
    digest = dmrc.ok("package", "--safetensors-dir", tmp_path / "tiny", "--format", form, name).strip()
    dmrc.ok("push", name)
    dmrc.ok("rm", name)
    assert [path for path in (dmrc.home / "store").rglob("*") if path.is_file() and path.stat().st_size > 4096] == []

    dmrc.ok("pull", name)

    assert stored(dmrc, name) == files
    shown = json.loads(dmrc.ok("inspect", name))
    assert shown["id"] == digest
    config = shown["config"]
    assert (config["format"], config["quantization"], config["parameters"]) == ("safetensors", "BF16", "397.70 K")
    assert (config["architecture"], config["gguf"]) == ("LlamaForCausalLM", {})
    [listed] = [line for line in dmrc.ok("show", name).splitlines() if line.startswith("Files:")]
    assert all(f"{path} (" in listed for path in files)
    dmrc.ok("verify", name)
    # Hard links only: a directory for an engine takes no room of its own.
    assert all(path.stat().st_nlink == 2 for path in (dmrc.home / "store/bundles").rglob("*") if path.is_file())
    dmrc.ok("tag", name, "me/other")
    dmrc.ok("rm", name)
    assert stored(dmrc, "me/other") == files
    dmrc.ok("rm", "me/other")
    assert list((dmrc.home / "store/bundles").iterdir()) == []


def test_a_damaged_file_is_found_and_brought_anew(
    dmrc: Dmrc, registry: RegistryServer, files: dict[str, bytes], tmp_path: Path
) -> None:
    name = f"{registry.address}/me/tiny"
    dmrc.ok("package", "--safetensors-dir", tmp_path / "tiny", name, "--push")
    store = Store(dmrc.home / "store")
    path = store.files(store.resolve(name)).path / "model-00001-of-00002.safetensors"
    path.chmod(0o600)
    path.write_bytes(path.read_bytes()[:-1] + b"\xff")

    damaged = dmrc.run("verify", name)

    assert damaged.returncode != 0
    assert "is damaged" in damaged.stdout + damaged.stderr
    dmrc.ok("pull", name)
    assert stored(dmrc, name) == files


def test_a_file_for_each_layer_as_docker_model_runner_packages_it(
    dmrc: Dmrc, registry: RegistryServer, files: dict[str, bytes]
) -> None:
    """Source: FromDirectory in https://github.com/docker/model-runner/blob/main/pkg/distribution/builder/."""
    kinds = {".safetensors": "safetensors", ".jinja": "chat.template.jinja"}
    layers: list[Layer] = [
        (f"{DOCKER}.{kinds.get(Path(path).suffix, 'model.file')}", path, data) for path, data in files.items()
    ]
    layers.append((f"{DOCKER}.license", "LICENSE", b"Do as you like."))
    name = push(registry, "me/tiny", layers, version="v0.2")

    dmrc.ok("pull", name)

    assert stored(dmrc, name) == {**files, "LICENSE": b"Do as you like."}
    store = Store(dmrc.home / "store")
    template = store.files(store.resolve(name)).chat_template
    assert template is not None
    assert template.read_bytes() == files["chat_template.jinja"]
    # What its packager left out of the config is read from the files.
    config = json.loads(dmrc.ok("inspect", name))["config"]
    assert (config["quantization"], config["parameters"]) == ("BF16", "397.70 K")


@pytest.mark.parametrize(("written", "served"), [(2048, None), (512, 512)])
def test_a_trained_maximum_is_no_context_size_that_somebody_asked_for(
    dmrc: Dmrc, registry: RegistryServer, files: dict[str, bytes], written: int, served: int | None
) -> None:
    """Docker Model Runner writes the maximum of config.json, 2048 here, where its packager says no other."""
    kinds = {".safetensors": "safetensors"}
    layers: list[Layer] = [
        (f"{DOCKER}.{kinds.get(Path(path).suffix, 'model.file')}", path, data) for path, data in files.items()
    ]
    name = push(registry, "me/tiny", layers, version="v0.2", context_size=written)

    dmrc.ok("pull", name)

    assert json.loads(dmrc.ok("inspect", name))["config"].get("context_size") == served
    assert str(written) in dmrc.ok("list").splitlines()[1]


def test_a_modelpack_model_of_another_program(dmrc: Dmrc, registry: RegistryServer, files: dict[str, bytes]) -> None:
    layers: list[Layer] = [
        (f"{CNCF}.weight.{'v1' if path.endswith('.safetensors') else 'config.v1'}.raw", path, data)
        for path, data in files.items()
    ]
    name = push(registry, "me/tiny", [*layers, (f"{CNCF}.doc.v1.raw", "README.md", b"# Tiny")], "cncf")
    assert json.loads(dmrc.ok("inspect", "--remote", name))["config"]["format"] == "safetensors"

    dmrc.ok("pull", name)

    assert stored(dmrc, name) == {**files, "README.md": b"# Tiny"}
    assert json.loads(dmrc.ok("list", "--json"))[0]["config"]["format"] == "safetensors"


def test_an_archive_of_small_files_as_docker_model_runner_had_it_before(
    dmrc: Dmrc, registry: RegistryServer, files: dict[str, bytes]
) -> None:
    weights = sorted(path for path in files if path.endswith(".safetensors"))
    below = {path: data for path, data in files.items() if "/" in path}
    small = {path: data for path, data in files.items() if path not in (*weights, *below)}
    layers: list[Layer] = [(f"{DOCKER}.safetensors", None, files[path]) for path in weights]
    layers += [(f"{DOCKER}.vllm.config.tar", None, tar(small)), (f"{DOCKER}.dir.tar", None, tar(below))]
    name = push(registry, "me/tiny", layers)

    dmrc.ok("pull", name)

    assert stored(dmrc, name) == files
    # What was taken out of the archives belongs to the model.
    assert Store(dmrc.home / "store").usage().unused_bytes == 0
    dmrc.ok("package", "--from", name, "--context-size", "128", "me/short")
    assert stored(dmrc, "me/short") == files
    dmrc.ok("rm", name, "me/short")
    assert list((dmrc.home / "store/bundles").iterdir()) == []


def _as_link(entry: tarfile.TarInfo) -> None:
    entry.type, entry.linkname, entry.size = tarfile.SYMTYPE, "/etc/passwd", 0


def _as_hard_link(entry: tarfile.TarInfo) -> None:
    entry.type, entry.linkname, entry.size = tarfile.LNKTYPE, "/etc/passwd", 0


@pytest.mark.parametrize(
    ("archive", "reason"),
    [
        (tar({"../escaped.json": b"{}"}), "'../escaped.json' is no plain file"),
        (tar({"/tmp/escaped.json": b"{}"}), "'/tmp/escaped.json' is no plain file"),
        (tar({"config.json": b""}, _as_link), "'config.json' is no plain file"),
        (tar({"config.json": b""}, _as_hard_link), "'config.json' is no plain file"),
        (tar({"model.safetensors": b"x"}), "two files for the place of 'model.safetensors'"),
        (tar({"a": b"x", "a/b": b"x"}), "two files for the place of 'a/b'"),
        (tar({f"{number}.json": b"" for number in range(1001)}), "more than 1000 entries"),
        (tar({"config.json": b"{}" * 1000})[:1500], "is not whole"),
        (b"no archive" * 100, "an archive that cannot be read"),
    ],
)
def test_an_archive_that_is_not_to_be_trusted_gives_no_files(
    dmrc: Dmrc, registry: RegistryServer, tmp_path: Path, archive: bytes, reason: str
) -> None:
    weights = (write_tiny_llama_directory(tmp_path / "one") / "model.safetensors").read_bytes()
    name = push(
        registry, "me/bad", [(f"{DOCKER}.safetensors", None, weights), (f"{DOCKER}.vllm.config.tar", None, archive)]
    )
    dmrc.ok("pull", name)
    store = Store(dmrc.home / "store")
    before = sorted(tmp_path.rglob("*"))

    with pytest.raises(ArtifactError, match="me/bad") as caught:
        store.files(store.resolve(name))

    assert reason in str(caught.value)
    assert sorted(path for path in tmp_path.rglob("*") if ".lock" not in path.name) == [
        path for path in before if ".lock" not in path.name
    ]


def test_a_chat_template_that_is_given_takes_the_place_of_the_directorys(
    dmrc: Dmrc, files: dict[str, bytes], tmp_path: Path
) -> None:
    (tmp_path / "other.jinja").write_text("{{ messages }}")

    dmrc.ok("package", "--safetensors-dir", tmp_path / "tiny", "--chat-template", tmp_path / "other.jinja", "me/other")

    assert stored(dmrc, "me/other") == {**files, "chat_template.jinja": b"{{ messages }}"}


def test_a_projector_goes_with_no_directory(dmrc: Dmrc, files: dict[str, bytes], tmp_path: Path) -> None:
    done = dmrc.run(
        "package", "--safetensors-dir", tmp_path / "tiny", "--mmproj", tmp_path / "tiny/config.json", "me/other"
    )

    assert done.returncode == 2
    assert "goes with a GGUF file" in done.stderr
