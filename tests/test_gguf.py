import io
import struct
import time
from pathlib import Path

import gguf
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dmrc.errors import GgufError
from dmrc.gguf import GgufFacts, format_parameters, format_size
from tests.tiny_gguf import CHAT_TEMPLATE, write_tiny_llama


def parse(data: bytes) -> GgufFacts:
    return GgufFacts.parse(io.BytesIO(data), name="x.gguf")


def parse_file(path: Path) -> GgufFacts:
    with path.open("rb") as stream:
        return GgufFacts.parse(stream, name=path.name)


def text(value: str) -> bytes:
    return struct.pack("<Q", len(value.encode())) + value.encode()


def entry(key: str, kind: int, value: bytes) -> bytes:
    return text(key) + struct.pack("<I", kind) + value


def header(*entries: bytes, tensors: tuple[bytes, ...] = (), version: int = 3, data: bytes = b"") -> bytes:
    body = b"GGUF" + struct.pack("<IQQ", version, len(tensors), len(entries)) + b"".join(entries) + b"".join(tensors)
    return body + bytes(-len(body) % 32) + data


LLAMA = entry("general.architecture", 8, text("llama"))


def test_facts_of_a_llama(tmp_path: Path) -> None:
    facts = parse_file(write_tiny_llama(tmp_path / "x.gguf", context_length=512))

    assert (facts.architecture, facts.name, facts.quantization) == ("llama", "Tiny", "F16")
    assert (facts.context_length, facts.block_count, facts.embedding_length) == (512, 2, 64)
    assert (facts.head_count, facts.head_counts_kv, facts.key_length, facts.value_length) == (4, (2, 2), 16, 16)
    assert (facts.feed_forward_length, facts.sliding_window, facts.pooling_type) == (128, None, None)
    assert facts.chat_template == CHAT_TEMPLATE
    assert facts.split_count == 1
    assert facts.metadata["llama.attention.layer_norm_rms_epsilon"] == "1e-05"
    assert "tokenizer.ggml.tokens" not in facts.metadata
    assert facts.vocabulary_size == int(facts.metadata["llama.vocab_size"])


def test_numbers_agree_with_the_gguf_package(tmp_path: Path) -> None:
    path = write_tiny_llama(tmp_path / "x.gguf")
    tensors = gguf.GGUFReader(path).tensors

    facts = parse_file(path)

    assert facts.parameters == sum(int(tensor.n_elements) for tensor in tensors)
    assert facts.tensor_bytes == sum(int(tensor.n_bytes) for tensor in tensors)
    assert facts.tensor_count == len(tensors)


def test_a_quantized_tensor_is_measured_in_blocks(tmp_path: Path) -> None:
    writer = gguf.GGUFWriter(tmp_path / "x.gguf", "llama")
    writer.add_file_type(gguf.LlamaFileType.MOSTLY_Q4_K_M)
    writer.add_tensor("a", np.zeros((2, 144), dtype=np.uint8), raw_dtype=gguf.GGMLQuantizationType.Q4_K)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()

    facts = parse_file(tmp_path / "x.gguf")

    assert (facts.quantization, facts.parameters, facts.tensor_bytes) == ("Q4_K_M", 512, 288)


def test_heads_may_differ_from_block_to_block() -> None:
    counts = struct.pack("<IQ3I", 4, 3, 1, 0, 8)

    facts = parse(
        header(
            LLAMA,
            entry("llama.block_count", 4, struct.pack("<I", 3)),
            entry("llama.attention.head_count_kv", 9, counts),
        )
    )

    assert facts.head_counts_kv == (1, 0, 8)


def test_shards_add_up(tmp_path: Path) -> None:
    first = parse_file(write_tiny_llama(tmp_path / "x.gguf"))

    both = first.with_shards([first])

    assert both.parameters == 2 * first.parameters
    assert both.tensor_bytes == 2 * first.tensor_bytes
    assert both.architecture == first.architecture


def test_a_large_vocabulary_is_skipped_quickly() -> None:
    words = b"".join(text(f"word{index}") for index in range(150_000))
    data = header(LLAMA, entry("tokenizer.ggml.tokens", 9, struct.pack("<IQ", 8, 150_000) + words))
    started = time.process_time()

    facts = parse(data)

    assert facts.vocabulary_size == 150_000
    assert time.process_time() - started < 2
    assert "tokenizer.ggml.tokens" not in facts.metadata


@pytest.mark.parametrize("data", [b"", b"GG", b"PK\x03\x04 a zip", b"<html>not found</html>"])
def test_another_file_is_named_as_such(data: bytes) -> None:
    with pytest.raises(GgufError, match=r"^'x\.gguf' is not a GGUF file: it begins with"):
        parse(data)


TENSOR = text("a") + struct.pack("<IQIQ", 1, 64, 0, 0)


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (header(LLAMA, version=1), "version is 1"),
        (b"GGUF" + struct.pack(">IQQ", 3, 0, 0), "little-endian"),
        (b"GGUF" + struct.pack("<IQQ", 3, 1 << 60, 0), "claims 1152921504606846976 tensors"),
        (b"GGUF" + struct.pack("<IQQ", 3, 0, 1 << 60), "keys"),
        (header(LLAMA)[:40], "cut off"),
        (header(), "general.architecture"),
        (header(LLAMA, LLAMA), "twice"),
        (header(text("a") + struct.pack("<IQ", 8, 1 << 62)), "text"),
        (header(entry("a", 13, b"")), "unknown type 13"),
        (header(entry("a", 9, struct.pack("<IQ", 9, 1))), "unknown type 9"),
        (header(entry("a", 9, struct.pack("<IQ", 8, 1 << 61))), "array of"),
        (header(entry("a", 9, struct.pack("<IQ", 4, 1 << 61))), "array of"),
        (header(LLAMA, entry("llama.block_count", 10, struct.pack("<Q", 1 << 31))), "blocks"),
        (header(LLAMA, entry("llama.block_count", 8, text("many"))), "many"),
        (header(LLAMA, entry("general.alignment", 4, bytes(4))), "alignment"),
        (header(LLAMA, tensors=(TENSOR,), data=bytes(255)), "need 256 bytes, and 255 follow"),
        (header(LLAMA, tensors=(text("a") + struct.pack("<I", 5),)), "5 dimensions"),
    ],
)
def test_a_header_that_lies_is_refused(data: bytes, reason: str) -> None:
    with pytest.raises(GgufError, match=r"^'x\.gguf' is a damaged GGUF file: ") as caught:
        parse(data)

    assert reason in str(caught.value)


def test_a_tensor_type_from_the_future_still_gives_a_size() -> None:
    tensor = text("a") + struct.pack("<IQIQ", 1, 64, 999, 0)

    facts = parse(header(LLAMA, tensors=(tensor,), data=bytes(96)))

    assert (facts.parameters, facts.tensor_bytes, facts.quantization) == (64, 96, "unknown")


def test_a_file_without_tensors_need_not_be_padded() -> None:
    data = b"GGUF" + struct.pack("<IQQ", 3, 0, 1) + LLAMA

    assert parse(data).tensor_count == 0


def test_a_later_file_of_a_split_model_has_no_architecture() -> None:
    facts = parse(header(entry("split.no", 2, b"\1\0"), entry("split.count", 2, b"\3\0")))

    assert (facts.architecture, facts.split_count) == ("", 3)


@settings(deadline=None)
@given(st.binary(max_size=200))
def test_no_bytes_raise_anything_but_our_error(data: bytes) -> None:
    for candidate in (data, b"GGUF" + data, b"GGUF\x03\0\0\0" + data):
        try:
            parse(candidate)
        except GgufError as error:
            assert "x.gguf" in str(error)


@settings(deadline=None)
@given(st.data())
def test_no_damage_to_a_real_header_raises_anything_but_our_error(data: st.DataObject) -> None:
    keys = [
        LLAMA,
        entry("llama.block_count", 4, struct.pack("<I", 3)),
        entry("b", 9, struct.pack("<IQ", 8, 60) + text("t") * 60),
    ]
    whole = bytearray(header(*keys, tensors=(TENSOR,), data=bytes(256)))
    for _ in range(data.draw(st.integers(1, 4))):
        whole[data.draw(st.integers(4, len(whole) - 257))] = data.draw(st.integers(0, 255))
    cut = data.draw(st.integers(0, len(whole)))

    for candidate in (bytes(whole), bytes(whole[:cut])):
        try:
            parse(candidate)
        except GgufError as error:
            assert "x.gguf" in str(error)


def test_numbers_are_written_as_docker_model_runner_writes_them() -> None:
    assert format_parameters(134_515_008) == "134.52 M"
    assert format_parameters(7_000_000_000) == "7 B"
    assert format_parameters(0) == "0"
    assert format_size(268_802_457) == "268.80 MB"
    assert format_size(512) == "512 B"
