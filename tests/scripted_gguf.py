"""A GGUF whose model says one text, always: a real engine with an answer that is known beforehand.

Attention and feed-forward are zero, so the last token alone decides what comes next: the embedding of each token is a
direction of its own, and the output matrix leads it to the token that follows in the script.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import gguf
import numpy as np

from tests.tiny_gguf import EMBEDDING_LENGTH, END_OF_TEXT, add_vocabulary, begin, block, finish

PROMPT_END = "<|assistant|>"
"""What a chat template must end with; the script goes on from there."""

_SURE = 30.0

# As Qwen3's: who wants no thoughts gets a prompt that ends after thoughts which were none.
THINKING_TEMPLATE = (
    "{% for message in messages %}<|{{ message.role }}|>"
    "{% if message.reasoning_content %}<think>\n{{ message.reasoning_content }}\n</think>\n\n{% endif %}"
    "{{ message.content }}<|end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|assistant|>"
    "{% if enable_thinking is defined and not enable_thinking %}<think>\n\n</think>{% endif %}{% endif %}"
)


def write_scripted_llama(path: Path, script: Sequence[str], chat_template: str) -> Path:
    """Write a model that answers with `script`, a token for each piece, and ends there; return its path.

    No two pieces may be equal. After a prompt that ends with one of them comes what follows it.
    """
    pieces = [PROMPT_END, *script]
    assert len(set(pieces)) == len(pieces) < EMBEDDING_LENGTH
    writer = begin(path, "llama", "Scripted", 1024, 1)
    kinds = add_vocabulary(writer, pieces, gguf.TokenType.USER_DEFINED)
    writer.add_chat_template(chat_template)
    finish(writer, _tensors(len(kinds), len(pieces)))
    return path


def _tensors(tokens: int, pieces: int) -> Iterator[tuple[str, np.ndarray]]:
    def nothing(rows: int, columns: int) -> np.ndarray:
        return np.zeros((rows, columns), dtype=np.float16)

    embedding, output = nothing(tokens, EMBEDDING_LENGTH), nothing(tokens, EMBEDDING_LENGTH)
    first = tokens - pieces
    embedding[:first, 0] = 1  # what is no piece leads nowhere, as the last piece does
    for place in range(pieces):
        follower = first + place + 1 if place < pieces - 1 else END_OF_TEXT
        embedding[first + place, place + 1] = 1
        output[follower, place + 1] = _SURE
    output[END_OF_TEXT, 0] = _SURE
    yield "token_embd.weight", embedding
    yield from block(0, nothing)
    yield "output_norm.weight", np.ones(EMBEDDING_LENGTH, dtype=np.float32)
    yield "output.weight", output
