"""Headers of safetensors files, which come from anywhere."""

from __future__ import annotations

import io
import json
import random
import tracemalloc
from pathlib import Path

import pytest

from dmrc.errors import SafetensorsError
from dmrc.safetensors import SafetensorsFacts, SafetensorsHeader
from tests.tiny_safetensors import write_tiny_llama_directory


def parse(data: bytes, size_bytes: int | None = None) -> SafetensorsHeader:
    return SafetensorsHeader.parse(io.BytesIO(data), len(data) if size_bytes is None else size_bytes, name="x")


def file_of(header: object, tensors: bytes = b"") -> bytes:
    text = json.dumps(header).encode()
    return len(text).to_bytes(8, "little") + text + tensors


TENSOR = {"dtype": "F16", "shape": [2, 2], "data_offsets": [0, 8]}


def test_a_header_tells_what_is_in_the_file() -> None:
    more = {"dtype": "I32", "shape": [], "data_offsets": [8, 12]}

    header = parse(file_of({"__metadata__": {"format": "pt"}, "a": TENSOR, "b": more}, bytes(12)))

    assert (dict(header.parameters), header.tensor_count, header.tensor_bytes) == ({"F16": 4, "I32": 1}, 2, 12)


def test_a_model_of_several_files_is_told_as_one(tmp_path: Path) -> None:
    directory = write_tiny_llama_directory(tmp_path, shard_count=3)
    headers = []
    for path in sorted(directory.glob("*.safetensors")):
        with path.open("rb") as stream:
            headers.append(SafetensorsHeader.parse(stream, path.stat().st_size, name=path.name))

    facts = SafetensorsFacts.of(headers, json.loads((directory / "config.json").read_bytes()))

    assert (facts.architecture, facts.quantization, facts.context_length) == ("LlamaForCausalLM", "BF16", 2048)
    assert (facts.parameters, facts.tensor_count, facts.tensor_bytes) == (397_696, 21, 2 * 397_696)


@pytest.mark.parametrize(
    ("config", "architecture", "quantization", "context"),
    [
        ({}, "", "F16", None),
        ({"model_type": "llama", "quantization_config": {"quant_method": "awq", "bits": 4}}, "llama", "awq", None),
        ({"architectures": ["X"], "text_config": {"max_position_embeddings": 128}}, "X", "F16", 128),
        ({"architectures": [1], "quantization_config": [], "max_position_embeddings": "4"}, "", "F16", None),
        ({"architectures": ["X\n\x1b"], "quantization_config": {"quant_method": "\x1b"}}, "", "F16", None),
    ],
)
def test_the_config_beside_it_tells_more(
    config: dict[str, object], architecture: str, quantization: str, context: int | None
) -> None:
    facts = SafetensorsFacts.of([parse(file_of({"a": TENSOR}, bytes(8)))], config)

    assert (facts.architecture, facts.quantization, facts.context_length) == (architecture, quantization, context)


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "its header would have 0 bytes"),
        (b"GGUF" + bytes(100), "its header would have"),
        ((1 << 40).to_bytes(8, "little"), "its header would have 1099511627776 bytes"),
        (file_of({"a": TENSOR}, bytes(7)), "is not a whole safetensors file"),
        (file_of({"a": TENSOR}, bytes(9)), "is not a whole safetensors file"),
        (file_of({}), "is not a whole safetensors file"),
        (file_of([]), "is not a whole safetensors file"),
        (b"\x04" + bytes(7) + b"[{]}", "its header is not JSON"),
        (b"\x02" + bytes(7) + b"\xff\xff", "its header is not JSON"),
        (file_of({"a": 1}), "its tensor 'a' has no type"),
        (file_of({"a": {**TENSOR, "dtype": "\x1b[31m"}}, bytes(8)), "its tensor 'a' has no type"),
        (file_of({"a": {**TENSOR, "shape": [-1]}}, bytes(8)), "has no shape or no place"),
        (file_of({"a": {**TENSOR, "shape": [True]}}, bytes(8)), "has no shape or no place"),
        (file_of({"a": {**TENSOR, "shape": [2] * 1000}}, bytes(8)), "has no shape or no place"),
        (file_of({"a": {**TENSOR, "shape": [1 << 62, 4]}}, bytes(8)), "that cannot be"),
        (file_of({"a": {**TENSOR, "data_offsets": [8, 0]}}, bytes(8)), "that cannot be"),
        (file_of({"a": {**TENSOR, "data_offsets": [0]}}, bytes(8)), "has no shape or no place"),
    ],
)
def test_what_is_not_safetensors_is_refused(data: bytes, reason: str) -> None:
    with pytest.raises(SafetensorsError, match="'x' is not a") as caught:
        parse(data)

    assert reason in str(caught.value)


def test_no_bytes_make_another_error_or_take_much_memory(tmp_path: Path) -> None:
    whole = (write_tiny_llama_directory(tmp_path) / "model.safetensors").read_bytes()[:3000]
    chance = random.Random(0)
    tracemalloc.start()
    try:
        for _ in range(2000):
            data = bytearray(whole)
            for _ in range(chance.randrange(1, 8)):
                data[chance.randrange(len(data))] = chance.randrange(256)
            with pytest.raises(SafetensorsError):
                parse(bytes(data[: chance.randrange(len(data))]))
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()

    assert peak < 10 << 20
