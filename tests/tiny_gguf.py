"""Tiny GGUF files: a llama of a few hundred kB with random weights that a real engine loads and generates with."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import gguf
import numpy as np

CHAT_TEMPLATE = (
    "{% for message in messages %}<|{{ message['role'] }}|>{{ message['content'] }}\n{% endfor %}"
    "{% if add_generation_prompt %}<|assistant|>{% endif %}"
)

_EMBEDDING_LENGTH = 64
_FEED_FORWARD_LENGTH = 128
_HEADS, _KV_HEADS = 4, 2
_SYLLABLES = [consonant + vowel for consonant in "bdfgklmnprstvz" for vowel in "aeiou"]
_STEADY = 10.0


def write_tiny_llama(
    path: Path,
    *,
    context_length: int = 512,
    block_count: int = 2,
    architecture: str = "llama",
    name: str = "Tiny",
    chat_template: str | None = CHAT_TEMPLATE,
    seed: int = 0,
    split_max_tensors: int = 0,
) -> Path:
    """Write the model to `path` and return it; the same arguments write the same bytes.

    With `split_max_tensors` it is split into files of so many tensors, and the path of the first is returned.
    It answers with made-up words and never ends by itself, so an answer has exactly the tokens asked for.
    """
    writer = gguf.GGUFWriter(path, architecture, split_max_tensors=split_max_tensors)
    writer.add_name(name)
    writer.add_file_type(gguf.LlamaFileType.MOSTLY_F16)
    writer.add_context_length(context_length)
    writer.add_block_count(block_count)
    writer.add_embedding_length(_EMBEDDING_LENGTH)
    writer.add_feed_forward_length(_FEED_FORWARD_LENGTH)
    writer.add_head_count(_HEADS)
    writer.add_head_count_kv(_KV_HEADS)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_rope_dimension_count(_EMBEDDING_LENGTH // _HEADS)
    tokens = _add_tokenizer(writer)
    if chat_template is not None:
        writer.add_chat_template(chat_template)
    for tensor_name, tensor in _tensors(tokens, block_count, seed):
        writer.add_tensor(tensor_name, tensor)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return min(path.parent.glob(f"{path.stem}-00001-of-*.gguf")) if split_max_tensors else path


def _add_tokenizer(writer: gguf.GGUFWriter) -> list[int]:
    """Add a SentencePiece vocabulary and return the kind of each token."""
    words = [f"▁{first}{second}" for first in _SYLLABLES[:14] for second in _SYLLABLES[-14:]]
    tokens = ["<unk>", "<s>", "</s>", *(f"<0x{byte:02X}>" for byte in range(256)), "▁", *_SYLLABLES, *words]
    kinds = [gguf.TokenType.UNKNOWN, gguf.TokenType.CONTROL, gguf.TokenType.CONTROL]
    kinds += [gguf.TokenType.BYTE] * 256
    kinds += [gguf.TokenType.NORMAL] * (len(tokens) - len(kinds))
    writer.add_vocab_size(len(tokens))
    writer.add_tokenizer_model("llama")
    writer.add_token_list(tokens)
    writer.add_token_scores([-float(index) for index in range(len(tokens))])
    writer.add_token_types(kinds)
    writer.add_unk_token_id(0)
    writer.add_bos_token_id(1)
    writer.add_eos_token_id(2)
    return [int(kind) for kind in kinds]


def _tensors(kinds: list[int], block_count: int, seed: int) -> Iterator[tuple[str, np.ndarray]]:
    random = np.random.default_rng(seed)
    width, inner, kv_width = _EMBEDDING_LENGTH, _FEED_FORWARD_LENGTH, _EMBEDDING_LENGTH // _HEADS * _KV_HEADS

    def matrix(rows: int, columns: int) -> np.ndarray:
        return (random.standard_normal((rows, columns)) / np.sqrt(columns)).astype(np.float16)

    embedding, output = matrix(len(kinds), width), matrix(len(kinds), width)
    # Dimension 0 is steady through the network; the output matrix uses it to shut out bytes and the end of text.
    embedding[:, 0] = _STEADY
    output[:, 0] = [0 if kind == gguf.TokenType.NORMAL else -_STEADY for kind in kinds]
    yield "token_embd.weight", embedding
    for block in range(block_count):
        yield f"blk.{block}.attn_norm.weight", np.ones(width, dtype=np.float32)
        yield f"blk.{block}.attn_q.weight", matrix(width, width)
        yield f"blk.{block}.attn_k.weight", matrix(kv_width, width)
        yield f"blk.{block}.attn_v.weight", matrix(kv_width, width)
        yield f"blk.{block}.attn_output.weight", matrix(width, width)
        yield f"blk.{block}.ffn_norm.weight", np.ones(width, dtype=np.float32)
        yield f"blk.{block}.ffn_gate.weight", matrix(inner, width)
        yield f"blk.{block}.ffn_up.weight", matrix(inner, width)
        yield f"blk.{block}.ffn_down.weight", matrix(width, inner)
    yield "output_norm.weight", np.ones(width, dtype=np.float32)
    yield "output.weight", output
