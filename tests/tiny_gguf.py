"""Tiny GGUF files: a llama of a few hundred kB with random weights that a real engine loads and generates with."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import gguf
import numpy as np

CHAT_TEMPLATE = (
    "{% for message in messages %}<|{{ message['role'] }}|>{{ message['content'] }}\n{% endfor %}"
    "{% if add_generation_prompt %}<|assistant|>{% endif %}"
)

EMBEDDING_LENGTH = 64
FEED_FORWARD_LENGTH = 128
END_OF_TEXT = 2
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
    writer = begin(path, architecture, name, context_length, block_count, split_max_tensors)
    kinds = _add_tokenizer(writer)
    if chat_template is not None:
        writer.add_chat_template(chat_template)
    finish(writer, _tensors(kinds, block_count, seed))
    return min(path.parent.glob(f"{path.stem}-00001-of-*.gguf")) if split_max_tensors else path


def begin(
    path: Path, architecture: str, name: str, context_length: int, block_count: int, split_max_tensors: int = 0
) -> gguf.GGUFWriter:
    """Return the writer of a llama of this size; its vocabulary and its tensors are to follow."""
    writer = gguf.GGUFWriter(path, architecture, split_max_tensors=split_max_tensors)
    writer.add_name(name)
    writer.add_file_type(gguf.LlamaFileType.MOSTLY_F16)
    writer.add_context_length(context_length)
    writer.add_block_count(block_count)
    writer.add_embedding_length(EMBEDDING_LENGTH)
    writer.add_feed_forward_length(FEED_FORWARD_LENGTH)
    writer.add_head_count(_HEADS)
    writer.add_head_count_kv(_KV_HEADS)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_rope_dimension_count(EMBEDDING_LENGTH // _HEADS)
    return writer


def add_vocabulary(writer: gguf.GGUFWriter, more: list[str], kind: gguf.TokenType) -> list[int]:
    """Add SentencePiece's special tokens, its bytes, and `more` tokens of one kind; return the kind of each token."""
    tokens = ["<unk>", "<s>", "</s>", *(f"<0x{byte:02X}>" for byte in range(256)), *more]
    kinds = [gguf.TokenType.UNKNOWN, gguf.TokenType.CONTROL, gguf.TokenType.CONTROL]
    kinds += [gguf.TokenType.BYTE] * 256
    kinds += [kind] * len(more)
    writer.add_vocab_size(len(tokens))
    writer.add_tokenizer_model("llama")
    writer.add_token_list(tokens)
    writer.add_token_scores([-float(index) for index in range(len(tokens))])
    writer.add_token_types(kinds)
    writer.add_unk_token_id(0)
    writer.add_bos_token_id(1)
    writer.add_eos_token_id(END_OF_TEXT)
    return [int(each) for each in kinds]


def finish(writer: gguf.GGUFWriter, tensors: Iterator[tuple[str, np.ndarray]]) -> None:
    """Write the file."""
    for name, tensor in tensors:
        writer.add_tensor(name, tensor)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def block(number: int, matrix: Callable[[int, int], np.ndarray]) -> Iterator[tuple[str, np.ndarray]]:
    """Yield the tensors of one block, each matrix of so many rows and columns made by `matrix`."""
    width, inner, kv_width = EMBEDDING_LENGTH, FEED_FORWARD_LENGTH, EMBEDDING_LENGTH // _HEADS * _KV_HEADS
    yield f"blk.{number}.attn_norm.weight", np.ones(width, dtype=np.float32)
    yield f"blk.{number}.attn_q.weight", matrix(width, width)
    yield f"blk.{number}.attn_k.weight", matrix(kv_width, width)
    yield f"blk.{number}.attn_v.weight", matrix(kv_width, width)
    yield f"blk.{number}.attn_output.weight", matrix(width, width)
    yield f"blk.{number}.ffn_norm.weight", np.ones(width, dtype=np.float32)
    yield f"blk.{number}.ffn_gate.weight", matrix(inner, width)
    yield f"blk.{number}.ffn_up.weight", matrix(inner, width)
    yield f"blk.{number}.ffn_down.weight", matrix(width, inner)


def _add_tokenizer(writer: gguf.GGUFWriter) -> list[int]:
    """Add made-up words and return the kind of each token."""
    words = [f"▁{first}{second}" for first in _SYLLABLES[:14] for second in _SYLLABLES[-14:]]
    return add_vocabulary(writer, ["▁", *_SYLLABLES, *words], gguf.TokenType.NORMAL)


def _tensors(kinds: list[int], block_count: int, seed: int) -> Iterator[tuple[str, np.ndarray]]:
    random = np.random.default_rng(seed)

    def matrix(rows: int, columns: int) -> np.ndarray:
        return (random.standard_normal((rows, columns)) / np.sqrt(columns)).astype(np.float16)

    embedding, output = matrix(len(kinds), EMBEDDING_LENGTH), matrix(len(kinds), EMBEDDING_LENGTH)
    # Dimension 0 is steady through the network; the output matrix uses it to shut out bytes and the end of text.
    embedding[:, 0] = _STEADY
    output[:, 0] = [0 if kind == gguf.TokenType.NORMAL else -_STEADY for kind in kinds]
    yield "token_embd.weight", embedding
    for number in range(block_count):
        yield from block(number, matrix)
    yield "output_norm.weight", np.ones(EMBEDDING_LENGTH, dtype=np.float32)
    yield "output.weight", output
