"""A tiny GGUF whose last block guesses the token after the next (multi-token prediction, in the manner of GLM-4.5)."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import gguf
import numpy as np

from tests.tiny_gguf import CHAT_TEMPLATE, EMBEDDING_LENGTH, add_vocabulary, begin, block, finish

_EXPERTS = 2
_EXPERT_WIDTH = 32
_WORDS = 64
_LOUD = 4.0


def write_tiny_mtp(path: Path, *, head: bool = True, architecture: str = "glm4moe") -> Path:
    """Write the model to `path` and return it. It says its words in a circle, and its head knows what comes next.

    Without `head` the file says that it has one and holds none, as one that was converted with `--no-mtp`.
    """
    writer = begin(path, architecture, "Tiny MTP", context_length=512, block_count=3)
    for name, number in (
        ("nextn_predict_layers", 1),
        ("leading_dense_block_count", 2),
        ("expert_count", _EXPERTS),
        ("expert_used_count", 1),
        ("expert_shared_count", 1),
        ("expert_feed_forward_length", _EXPERT_WIDTH),
    ):
        writer.add_uint32(f"{architecture}.{name}", number)
    add_vocabulary(writer, [f"▁w{number}" for number in range(_WORDS)], gguf.TokenType.NORMAL)
    writer.add_chat_template(CHAT_TEMPLATE)
    finish(writer, _tensors(head))
    return path


def _tensors(head: bool) -> Iterator[tuple[str, np.ndarray]]:
    random = np.random.default_rng(0)
    vocabulary = 3 + 256 + _WORDS

    def quiet(rows: int, columns: int) -> np.ndarray:
        return (random.standard_normal((rows, columns)) / 1000).astype(np.float16)

    # What a token is stays what it is through all blocks, and the output matrix names the one after it in the circle.
    embedding = random.choice([-_LOUD, _LOUD], (vocabulary, EMBEDDING_LENGTH)).astype(np.float16)
    following = np.arange(vocabulary)
    following[-_WORDS:] = np.roll(following[-_WORDS:], -1)
    following[:-_WORDS] = vocabulary - _WORDS
    output = np.zeros_like(embedding)
    output[following[-_WORDS:]] = embedding[-_WORDS:]
    yield "token_embd.weight", embedding
    for number in range(3 if head else 2):
        yield from _block(number, quiet)
    if head:
        yield from _head(2)
    yield "output_norm.weight", np.ones(EMBEDDING_LENGTH, dtype=np.float32)
    yield "output.weight", output


def _block(number: int, matrix: object) -> Iterator[tuple[str, np.ndarray]]:
    is_expert = number == 2
    for name, tensor in block(number, matrix):
        if name.endswith("ffn_norm.weight"):
            yield f"blk.{number}.post_attention_norm.weight", tensor
        elif not (is_expert and ".ffn_" in name):
            yield name, tensor
    for letter, width in (("q", 64), ("k", 32), ("v", 32)):
        yield f"blk.{number}.attn_{letter}.bias", np.zeros(width, dtype=np.float32)
    if is_expert:
        yield f"blk.{number}.ffn_gate_inp.weight", np.zeros((_EXPERTS, EMBEDDING_LENGTH), dtype=np.float32)
        yield f"blk.{number}.exp_probs_b.bias", np.zeros(_EXPERTS, dtype=np.float32)
        for part, shape in (
            ("gate", (_EXPERT_WIDTH, EMBEDDING_LENGTH)),
            ("up", (_EXPERT_WIDTH, EMBEDDING_LENGTH)),
            ("down", (EMBEDDING_LENGTH, _EXPERT_WIDTH)),
        ):
            yield f"blk.{number}.ffn_{part}_exps.weight", np.stack([matrix(*shape) for _ in range(_EXPERTS)])
            yield f"blk.{number}.ffn_{part}_shexp.weight", matrix(*shape)


def _head(number: int) -> Iterator[tuple[str, np.ndarray]]:
    """Yield what makes a block the head: it looks at the token alone, and not at what the blocks below made of it."""
    width = EMBEDDING_LENGTH
    looks = np.concatenate([np.eye(width), np.zeros((width, width))], axis=1)
    yield f"blk.{number}.nextn.eh_proj.weight", looks.astype(np.float16)
    yield f"blk.{number}.nextn.enorm.weight", np.ones(width, dtype=np.float32)
    yield f"blk.{number}.nextn.hnorm.weight", np.ones(width, dtype=np.float32)
