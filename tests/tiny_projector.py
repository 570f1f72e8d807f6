"""A tiny multimodal projector: what lets a real engine put a picture before a model of tests/tiny_gguf.py.

It is LLaVA's simplest kind, an `mlp` behind a vision encoder of one block, which llama.cpp skips as the last one.
Source: https://github.com/ggml-org/llama.cpp/blob/master/tools/mtmd/clip.cpp
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator
from pathlib import Path

import gguf
import numpy as np

from tests.tiny_gguf import EMBEDDING_LENGTH

_IMAGE_SIZE, _PATCH_SIZE, _WIDTH = 32, 8, 32

IMAGE_TOKENS = (_IMAGE_SIZE // _PATCH_SIZE) ** 2
"""What every picture adds to a prompt: each is scaled to one size, and each patch of it is a token."""


def write_tiny_projector(path: Path, *, embedding_length: int = EMBEDDING_LENGTH) -> Path:
    """Write a projector for a model whose embeddings have that length, and return its path."""
    writer = gguf.GGUFWriter(path, "clip")
    writer.add_name("Tiny eyes")
    writer.add_file_type(gguf.LlamaFileType.ALL_F32)
    writer.add_clip_has_vision_encoder(True)
    writer.add_clip_projector_type("mlp")
    writer.add_vision_image_size(_IMAGE_SIZE)
    writer.add_vision_patch_size(_PATCH_SIZE)
    writer.add_vision_embedding_length(_WIDTH)
    writer.add_vision_feed_forward_length(_WIDTH)
    writer.add_vision_projection_dim(embedding_length)
    writer.add_vision_block_count(1)
    writer.add_vision_head_count(2)
    writer.add_vision_attention_layernorm_eps(1e-5)
    writer.add_vision_image_mean([0.5, 0.5, 0.5])
    writer.add_vision_image_std([0.5, 0.5, 0.5])
    for name, tensor in _tensors(embedding_length):
        writer.add_tensor(name, tensor)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def _tensors(embedding_length: int) -> Iterator[tuple[str, np.ndarray]]:
    random = np.random.default_rng(0)

    def tensor(*shape: int) -> np.ndarray:
        return (random.standard_normal(shape) / np.sqrt(shape[-1])).astype(np.float32)

    yield "v.patch_embd.weight", tensor(_WIDTH, 3, _PATCH_SIZE, _PATCH_SIZE)
    yield "v.position_embd.weight", tensor(IMAGE_TOKENS, _WIDTH)
    for part in ("attn_out", "ffn_up", "ffn_down"):
        yield f"v.blk.0.{part}.weight", tensor(_WIDTH, _WIDTH)
    yield "mm.0.weight", tensor(_WIDTH, _WIDTH)
    yield "mm.0.bias", np.zeros(_WIDTH, dtype=np.float32)
    yield "mm.2.weight", tensor(embedding_length, _WIDTH)
    yield "mm.2.bias", np.zeros(embedding_length, dtype=np.float32)


def png(red: int = 255, green: int = 0, blue: int = 0, size: int = 24) -> bytes:
    """Return a picture of one colour. Source: https://www.w3.org/TR/png-3/."""
    rows = (b"\0" + bytes((red, green, blue)) * size) * size
    header = struct.pack(">IIBBBBB", size, size, 8, 2, 0, 0, 0)
    chunks = ((b"IHDR", header), (b"IDAT", zlib.compress(rows)), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data)) for kind, data in chunks
    )
