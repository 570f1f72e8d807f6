"""Models in the format safetensors from a server like Hugging Face."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest

from dmrc.errors import ArtifactError
from dmrc.sources.huggingface_directory import INDEX, LARGEST_INDEX_BYTES, files_of_model
from dmrc.store import Store
from tests.dmrc_command import Dmrc
from tests.polling import eventually
from tests.sources.hugging_face import Repository, Serve
from tests.tiny_gguf import write_tiny_llama
from tests.tiny_safetensors import write_tiny_llama_directory

NAME = "hf.co/org/m"


def content(directory: Path) -> dict[str, bytes]:
    """Return the files of a directory by their relative paths."""
    return {
        path.relative_to(directory).as_posix(): path.read_bytes() for path in directory.rglob("*") if path.is_file()
    }


def stored(dmrc: Dmrc, name: str) -> dict[str, bytes]:
    """Return the files of a model in the store, as an engine gets them."""
    store = Store(dmrc.home / "store")
    return content(store.files(store.resolve(name)).path)


@pytest.fixture
def model(tmp_path: Path) -> dict[str, bytes]:
    """The files of a model in three files of weights."""
    return content(write_tiny_llama_directory(tmp_path / "m", shard_count=3))


def test_a_model_comes_as_a_directory_and_is_told_as_such(
    dmrc: Dmrc, serve: Serve, model: dict[str, bytes], tmp_path: Path
) -> None:
    twins = {
        "pytorch_model.bin": b"x",
        "pytorch_model.bin.index.json": b"{}",
        "consolidated.safetensors": b"x",
        "original/params.json": b"{}",
        "original/consolidated.00.pth": b"x",
        "onnx/config.json": b"{}",
        "onnx/model.onnx": b"x",
        ".gitattributes": b"x",
        "README.md": b"x",
    }
    pooling = {"1_Pooling/config.json": b'{"word_embedding_dimension": 128}'}
    server = serve(org__m=Repository({**model, **twins, **pooling}))

    dmrc.ok("pull", NAME)

    assert stored(dmrc, NAME) == {**model, **pooling}
    assert not any(name in path for _, path, _ in server.requests for name in twins)
    [listed] = json.loads(dmrc.ok("list", "--json"))
    assert listed["tags"] == ["huggingface.co/org/m:latest"]
    assert listed["config"] == {
        "format": "safetensors",
        "quantization": "BF16",
        "parameters": "397.70 K",
        "architecture": "LlamaForCausalLM",
        "size": listed["config"]["size"],
        "gguf": {},
        "safetensors": {"tensor_count": "21", "max_position_embeddings": "2048"},
    }
    row = dmrc.ok("list").splitlines()[1]
    assert row.split()[:5] == ["hf.co/org/m", "397.70", "K", "BF16", "LlamaForCausalLM"]
    assert "2048" in row
    # What is packaged of the same files is the same model.
    directory = write_tiny_llama_directory(tmp_path / "again", shard_count=3)
    (directory / "1_Pooling").mkdir()
    (directory / "1_Pooling/config.json").write_bytes(pooling["1_Pooling/config.json"])
    assert dmrc.ok("package", "--safetensors-dir", directory, "me/again").strip() == listed["id"]


def test_gguf_goes_before_safetensors_unless_the_name_says_so(
    dmrc: Dmrc, serve: Serve, model: dict[str, bytes], tmp_path: Path
) -> None:
    gguf = write_tiny_llama(tmp_path / "tiny.gguf").read_bytes()
    serve(org__m=Repository({**model, "m-Q8_0.gguf": gguf}), org__only=Repository(model))

    dmrc.ok("pull", NAME, f"{NAME}:safetensors", f"{NAME}:Q8_0")
    missing = [dmrc.run("pull", f"hf.co/org/only:{tag}") for tag in ("Q8_0", "gguf")]

    formats = {tag: each["config"]["format"] for each in json.loads(dmrc.ok("list", "--json")) for tag in each["tags"]}
    assert formats == {
        "huggingface.co/org/m:latest": "gguf",
        "huggingface.co/org/m:Q8_0": "gguf",
        "huggingface.co/org/m:safetensors": "safetensors",
    }
    assert [done.returncode for done in missing] == [3, 3]
    assert "has no Q8_0: it has no GGUF file. Leave it out: hf.co/org/only" in missing[0].stderr
    assert "has no gguf; it has safetensors. Leave it out: hf.co/org/only" in missing[1].stderr


@pytest.mark.parametrize("changed", ["model-00002-of-00003.safetensors", "config.json", INDEX])
def test_a_changed_byte_is_refused(dmrc: Dmrc, serve: Serve, model: dict[str, bytes], changed: str) -> None:
    """Large files have a SHA-256 there, and small ones Git's name."""
    served = Repository(model)
    server = serve(org__m=served)
    data = bytearray(model[changed])
    data[len(data) // 2] ^= 1
    server.changed["org/m", changed] = bytes(data)

    done = dmrc.run("pull", NAME)

    assert done.returncode == 4
    assert "came with other bytes" in done.stderr
    assert dmrc.ok("list", "-q") == ""

    server.changed.clear()
    dmrc.ok("pull", NAME)
    assert stored(dmrc, NAME) == model


def test_a_pull_that_is_killed_goes_on(dmrc: Dmrc, serve: Serve, model: dict[str, bytes]) -> None:
    large = "model-00001-of-00003.safetensors"
    model[large] = padded(model[large], 64 << 20)
    server = serve(org__m=Repository(model))
    server.bytes_per_second = 20e6

    with subprocess.Popen([dmrc.program, "pull", NAME], env=dmrc.environment, stderr=subprocess.PIPE) as process:
        eventually(lambda: server.sent_bytes > (30 << 20) or process.poll() is not None, "half of a pull")
        process.kill()
    before, server.bytes_per_second = server.sent_bytes, None
    dmrc.ok("pull", NAME)

    assert stored(dmrc, NAME) == model
    total = sum(map(len, model.values()))
    assert before < total
    assert server.sent_bytes - before <= total - before + (16 << 20), "what had come was brought again"


def test_a_file_that_is_not_safetensors_makes_no_model(dmrc: Dmrc, serve: Serve, model: dict[str, bytes]) -> None:
    name = "model-00001-of-00003.safetensors"
    serve(org__m=Repository({**model, name: b"<html>" * 100}), org__cut=Repository({**model, name: model[name][:-1]}))

    page, cut = dmrc.run("pull", NAME), dmrc.run("pull", "hf.co/org/cut")

    assert (page.returncode, cut.returncode) == (2, 2)
    assert f"'{name}' is not a safetensors file" in page.stderr
    assert f"'{name}' is not a whole safetensors file" in cut.stderr
    assert dmrc.ok("list", "-q") == ""


@pytest.mark.parametrize(
    ("names", "index", "reason"),
    [
        ([INDEX, "a.safetensors"], b'{"weight_map": {"w": "b.safetensors"}}', "no safetensors 'b.safetensors' for"),
        ([INDEX, "a.bin"], b'{"weight_map": {"w": "a.bin"}}', "no safetensors 'a.bin' for"),
        ([INDEX, "a.safetensors"], b'{"weight_map": {"w": 1}}', "no safetensors '1' for"),
        ([INDEX, "a.safetensors"], b'{"weight_map": {}}', "no safetensors 'None' for"),
        ([INDEX, "a.safetensors"], b'{"weight_map": []}', "an index of its weights that is none"),
        ([INDEX, "a.safetensors"], b"[" * 100_000, "an index of its weights that is none"),
        ([INDEX, "a.safetensors"], b" " * (LARGEST_INDEX_BYTES + 1), "an index of its weights that is none"),
        (["../model.safetensors"], None, "not to be trusted: '../model.safetensors'"),
        (["model.safetensors", "/etc/config.json"], None, "not to be trusted: '/etc/config.json'"),
        (["model.safetensors", "a//config.json"], None, "not to be trusted: 'a//config.json'"),
        (["model.safetensors", "a\nb.json"], None, "not to be trusted"),
        (["model.safetensors", *(f"{number}.json" for number in range(600))], None, "at most 500 are accepted"),
    ],
)
def test_a_list_of_files_that_is_not_to_be_trusted_is_refused(
    names: list[str], index: bytes | None, reason: str
) -> None:
    with pytest.raises(ArtifactError, match="repository 'org/m'") as caught:
        files_of_model(names, index, "org/m")

    assert reason in str(caught.value)


def padded(data: bytes, size_bytes: int) -> bytes:
    """Return a file of weights with one more tensor, of so many bytes."""
    length = int.from_bytes(data[:8], "little")
    header, tensors = json.loads(data[8 : 8 + length]), data[8 + length :]
    end = len(tensors) + size_bytes
    header["more"] = {"dtype": "U8", "shape": [size_bytes], "data_offsets": [len(tensors), end]}
    text = json.dumps(header).encode()
    return len(text).to_bytes(8, "little") + text + tensors + bytes(range(256)) * (size_bytes // 256)


@pytest.mark.parametrize(
    ("there", "left"),
    [
        (["adapter_config.json", "adapter_model.safetensors", "README.md"], ["README.md"]),
        (["config.json", "model.safetensors", "model.fp16.safetensors", INDEX], ["model.fp16.safetensors", INDEX]),
        (["config.json", "a.safetensors", "b.safetensors", "modeling_x.py", "tokenizer.model"], ["modeling_x.py"]),
        (
            [
                "model_index.json",
                "unet/config.json",
                "unet/x.safetensors",
                "vae/y.safetensors",
                "onnx/config.json",
                "onnx/z.onnx",
            ],
            ["onnx/config.json", "onnx/z.onnx"],
        ),
    ],
)
def test_without_an_index_what_transformers_would_load_is_taken(there: list[str], left: list[str]) -> None:
    chosen = files_of_model(there, None, "org/m")

    assert sorted(chosen) == sorted(set(there) - set(left))
