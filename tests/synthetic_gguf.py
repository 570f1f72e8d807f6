"""GGUF files of several architectures and any size, with random weights: for what counts bytes, not words."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import gguf
import numpy as np

from tests.tiny_gguf import CHAT_TEMPLATE

Tensor = tuple[str, tuple[int, ...], bool]
"""Name, shape (rows first), and whether it is kept as floats."""


@dataclass(frozen=True, kw_only=True)
class Shape:
    """What a model looks like."""

    architecture: str = "llama"
    width: int = 64
    blocks: int = 2
    heads: int = 4
    heads_kv: int = 2
    head_width: int | None = None
    inner: int = 128
    vocabulary: int = 512
    context_length: int = 2048
    weights: gguf.GGMLQuantizationType = gguf.GGMLQuantizationType.F16
    sliding_window: int | None = None
    pooling: gguf.PoolingType | None = None

    @property
    def key_length(self) -> int:
        return self.head_width or self.width // self.heads


def write_model(path: Path, shape: Shape, seed: int = 0) -> Path:
    """Write a model that llama.cpp loads; the same arguments write the same bytes."""
    writer = gguf.GGUFWriter(path, shape.architecture)
    writer.add_name("Synthetic")
    writer.add_file_type(gguf.LlamaFileType.ALL_F32)
    writer.add_context_length(shape.context_length)
    writer.add_block_count(shape.blocks)
    writer.add_embedding_length(shape.width)
    writer.add_feed_forward_length(shape.inner)
    writer.add_head_count(shape.heads)
    writer.add_vocab_size(shape.vocabulary)
    if shape.pooling is not None:
        writer.add_pooling_type(shape.pooling)
    if shape.architecture == "bert":
        writer.add_causal_attention(False)
        writer.add_layer_norm_eps(1e-12)
        _add_word_pieces(writer, shape.vocabulary)
        tensors = _bert(shape)
    else:
        writer.add_head_count_kv(shape.heads_kv)
        writer.add_key_length(shape.key_length)
        writer.add_value_length(shape.key_length)
        writer.add_layer_norm_rms_eps(1e-5)
        if shape.sliding_window is not None:
            writer.add_sliding_window(shape.sliding_window)
        _add_sentence_pieces(writer, shape.vocabulary)
        tensors = _decoder(shape)
    _write(writer, tensors, shape.weights, seed)
    return path


def write_lora(path: Path, shape: Shape, rank: int = 4, seed: int = 1, strength: float = 1.0) -> Path:
    """Write an adapter for the attention of a decoder of that shape."""
    writer = gguf.GGUFWriter(path, shape.architecture)
    writer.add_type("adapter")
    writer.add_string("adapter.type", "lora")
    writer.add_float32("adapter.lora.alpha", rank * strength)
    tensors: list[Tensor] = []
    for name, (rows, columns), _ in (one for one in _decoder(shape) if one[0].endswith(("attn_q.weight", "up.weight"))):
        tensors += [(f"{name}.lora_a", (rank, columns), True), (f"{name}.lora_b", (rows, rank), True)]
    _write(writer, iter(tensors), gguf.GGMLQuantizationType.F32, seed)
    return path


def _write(writer: gguf.GGUFWriter, tensors: Iterator[Tensor], kind: gguf.GGMLQuantizationType, seed: int) -> None:
    random = np.random.default_rng(seed)
    for name, shape, is_float in tensors:
        if len(shape) == 1:
            values = np.zeros(shape, np.float32) if name.endswith("bias") else np.ones(shape, np.float32)
            writer.add_tensor(name, values)
            continue
        # A tile of rows, repeated: quantising hundreds of megabytes in Python would take minutes.
        rows, columns = shape
        tile = (random.standard_normal((min(rows, 64), columns)) / np.sqrt(columns)).astype(np.float32)
        used = gguf.GGMLQuantizationType.F32 if is_float else kind
        packed = gguf.quants.quantize(tile, used)
        packed = np.tile(packed, (-(-rows // len(packed)), 1))[:rows]
        writer.add_tensor(name, packed, raw_dtype=used)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def _decoder(shape: Shape) -> Iterator[Tensor]:
    keys, queries = shape.heads_kv * shape.key_length, shape.heads * shape.key_length
    is_gemma = shape.architecture == "gemma3"
    yield "token_embd.weight", (shape.vocabulary, shape.width), False
    for block in (f"blk.{number}" for number in range(shape.blocks)):
        yield f"{block}.attn_norm.weight", (shape.width,), True
        yield f"{block}.attn_q.weight", (queries, shape.width), False
        yield f"{block}.attn_k.weight", (keys, shape.width), False
        yield f"{block}.attn_v.weight", (keys, shape.width), False
        yield f"{block}.attn_output.weight", (shape.width, queries), False
        if shape.architecture == "qwen2":
            for name, size in (("q", queries), ("k", keys), ("v", keys)):
                yield f"{block}.attn_{name}.bias", (size,), True
        if is_gemma:
            for name in ("attn_q_norm", "attn_k_norm"):
                yield f"{block}.{name}.weight", (shape.key_length,), True
            for name in ("post_attention_norm", "post_ffw_norm"):
                yield f"{block}.{name}.weight", (shape.width,), True
        yield f"{block}.ffn_norm.weight", (shape.width,), True
        yield f"{block}.ffn_gate.weight", (shape.inner, shape.width), False
        yield f"{block}.ffn_up.weight", (shape.inner, shape.width), False
        yield f"{block}.ffn_down.weight", (shape.width, shape.inner), False
    yield "output_norm.weight", (shape.width,), True
    if not is_gemma:
        yield "output.weight", (shape.vocabulary, shape.width), False


def _bert(shape: Shape) -> Iterator[Tensor]:
    yield "token_embd.weight", (shape.vocabulary, shape.width), False
    yield "token_types.weight", (2, shape.width), True
    yield "position_embd.weight", (shape.context_length, shape.width), True
    yield "token_embd_norm.weight", (shape.width,), True
    yield "token_embd_norm.bias", (shape.width,), True
    for block in (f"blk.{number}" for number in range(shape.blocks)):
        for name in ("attn_q", "attn_k", "attn_v", "attn_output"):
            yield f"{block}.{name}.weight", (shape.width, shape.width), False
            yield f"{block}.{name}.bias", (shape.width,), True
        yield f"{block}.ffn_up.weight", (shape.inner, shape.width), False
        yield f"{block}.ffn_up.bias", (shape.inner,), True
        yield f"{block}.ffn_down.weight", (shape.width, shape.inner), False
        yield f"{block}.ffn_down.bias", (shape.width,), True
        for name in ("attn_output_norm", "layer_output_norm"):
            yield f"{block}.{name}.weight", (shape.width,), True
            yield f"{block}.{name}.bias", (shape.width,), True
    if shape.pooling is gguf.PoolingType.RANK:
        yield "cls.weight", (shape.width, shape.width), True
        yield "cls.bias", (shape.width,), True
        yield "cls.output.weight", (1, shape.width), True
        yield "cls.output.bias", (1,), True


def _add_sentence_pieces(writer: gguf.GGUFWriter, size: int) -> None:
    tokens = ["<unk>", "<s>", "</s>", *(f"<0x{byte:02X}>" for byte in range(256))]
    kinds = [gguf.TokenType.UNKNOWN, gguf.TokenType.CONTROL, gguf.TokenType.CONTROL] + [gguf.TokenType.BYTE] * 256
    tokens += [f"▁w{number:x}" for number in range(size - len(tokens))]
    writer.add_tokenizer_model("llama")
    writer.add_token_list(tokens)
    writer.add_token_scores([-float(index) for index in range(len(tokens))])
    writer.add_token_types(kinds + [gguf.TokenType.NORMAL] * (len(tokens) - len(kinds)))
    writer.add_unk_token_id(0)
    writer.add_bos_token_id(1)
    writer.add_eos_token_id(2)
    writer.add_chat_template(CHAT_TEMPLATE)


def _add_word_pieces(writer: gguf.GGUFWriter, size: int) -> None:
    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    letters = "abcdefghijklmnopqrstuvwxyz0123456789.,?!"
    tokens = [*special, *(f"▁{letter}" for letter in letters), *letters]
    tokens += [f"▁w{number:x}" for number in range(size - len(tokens))]
    writer.add_tokenizer_model("bert")
    writer.add_token_list(tokens)
    writer.add_token_types([gguf.TokenType.CONTROL] * 5 + [gguf.TokenType.NORMAL] * (len(tokens) - 5))
    writer.add_token_type_count(2)
    writer.add_pad_token_id(0)
    writer.add_unk_token_id(1)
    writer.add_bos_token_id(2)
    writer.add_eos_token_id(3)
    writer.add_sep_token_id(3)
    writer.add_uint32("tokenizer.ggml.cls_token_id", 2)
    writer.add_mask_token_id(4)
