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

RESULT_END = "<|after_result|>"
"""What it may end with where the last message is a tool's result; the reply goes on from there."""

_SURE = 30.0

# As Qwen3's: who wants no thoughts gets a prompt that ends after thoughts which were none.
THINKING_TEMPLATE = (
    "{% for message in messages %}<|{{ message.role }}|>"
    "{% if message.reasoning_content %}<think>\n{{ message.reasoning_content }}\n</think>\n\n{% endif %}"
    "{{ message.content }}<|end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|assistant|>"
    "{% if enable_thinking is defined and not enable_thinking %}<think>\n\n</think>{% endif %}{% endif %}"
)


def write_scripted_llama(path: Path, script: Sequence[str], chat_template: str, reply: Sequence[str] = ()) -> Path:
    """Write a model that answers with `script`, a token for each piece, and ends there; return its path.

    After `RESULT_END` it answers with `reply`.

    No two pieces may be equal. After a prompt that ends with one of them comes what follows it.
    """
    chains = [[PROMPT_END, *script], [RESULT_END, *reply]]
    pieces = [piece for chain in chains for piece in chain]
    assert len(set(pieces)) == len(pieces) < EMBEDDING_LENGTH
    writer = begin(path, "llama", "Scripted", 1024, 1)
    kinds = add_vocabulary(writer, pieces, gguf.TokenType.USER_DEFINED)
    writer.add_chat_template(chat_template)
    finish(writer, _tensors(len(kinds), len(pieces), len(chains[0])))
    return path


def _tensors(tokens: int, pieces: int, first_chain: int) -> Iterator[tuple[str, np.ndarray]]:
    def nothing(rows: int, columns: int) -> np.ndarray:
        return np.zeros((rows, columns), dtype=np.float16)

    embedding, output = nothing(tokens, EMBEDDING_LENGTH), nothing(tokens, EMBEDDING_LENGTH)
    first = tokens - pieces
    embedding[:first, 0] = 1  # what is no piece leads nowhere, as the last piece does
    for place in range(pieces):
        is_last = place + 1 in (first_chain, pieces)
        follower = END_OF_TEXT if is_last else first + place + 1
        embedding[first + place, place + 1] = 1
        output[follower, place + 1] = _SURE
    output[END_OF_TEXT, 0] = _SURE
    yield "token_embd.weight", embedding
    yield from block(0, nothing)
    yield "output_norm.weight", np.ones(EMBEDDING_LENGTH, dtype=np.float32)
    yield "output.weight", output
