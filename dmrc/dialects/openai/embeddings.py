"""Embeddings: how many numbers they have, and how long a text may be.

Source: https://platform.openai.com/docs/api-reference/embeddings/create
"""

from __future__ import annotations

import base64
import math
import struct
from collections.abc import Iterator, Sequence

from dmrc.dialects.chat.fixes import Fix
from dmrc.dialects.chat.messages import shown
from dmrc.dialects.chat.served import Served
from dmrc.dialects.chat.shapes import TEXT, WHOLE, check_kinds
from dmrc.errors import InputError
from dmrc.exchange import JsonValue
from dmrc.fields import JsonObject
from dmrc.json_values import items_of

EMBEDDINGS = "/v1/embeddings"
"""The route."""
_KNOWN = ("model", "input", "dimensions", "encoding_format", "user", "keep_alive", "embd_normalize")


def checked_embedding(document: JsonObject, served: Served) -> tuple[JsonObject, list[Fix]]:
    """Return the fields of a request to change, None being left out, and what is put right in its answer.

    Raises:
        InputError: It cannot be meant; what, is named.
    """
    _check_input(document.get("input"))
    check_kinds(document, {"user": TEXT, "encoding_format": TEXT})
    wanted = document.get("dimensions")
    if wanted is None:
        return {}, []
    longest = served.embedding_length
    if isinstance(wanted, bool) or not isinstance(wanted, int) or wanted < 1:
        raise InputError(f"'dimensions' must be a whole number above 0, not {shown(wanted)}")
    if longest is not None and wanted > longest:
        raise InputError(f"'dimensions' is {wanted}, and an embedding of '{served.reference}' has {longest}")
    # An upstream may have a way of its own to shorten them.
    return {} if served.is_upstream else {"dimensions": None}, [Shortened(wanted)]


def unread(document: JsonObject) -> tuple[str, ...]:
    """Return the fields that llama.cpp's server does not know, and that are therefore without effect."""
    return tuple(name for name, value in document.items() if value is not None and name not in _KNOWN)


def _check_input(value: JsonValue) -> None:
    """Refuse what is neither texts nor tokens: of a text beside a number llama.cpp's server makes one embedding."""
    one = value if isinstance(value, list) else [value]
    if not one:
        raise InputError("'input' is empty", remedy="Send a text, or a list of texts")
    are_texts = all(isinstance(text, str) for text in one)
    is_many = isinstance(value, list) and all(isinstance(text, str) or _are_tokens(text) for text in one)
    if not (are_texts or is_many or _are_tokens(value)):
        raise InputError("'input' must be a string, a list of strings, or tokens of them", remedy='Send "input": ["…"]')


def _are_tokens(value: JsonValue) -> bool:
    return isinstance(value, list) and all(WHOLE.is_met(token) for token in value)


class Shortened:
    """Cuts embeddings, and makes them of length 1 again, as models are trained for it (Matryoshka); see `Fix`."""

    def __init__(self, dimensions: int) -> None:
        """Keep so many numbers."""
        self._dimensions = dimensions

    def whole(self, document: JsonObject) -> JsonObject:
        """Return the answer, its embeddings shortened: lists of numbers, or base64 of floats."""
        for one in items_of(document.get("data")):
            value = one.get("embedding")
            if isinstance(value, list):
                one["embedding"] = [*self._cut([n for n in value if isinstance(n, int | float)])]
            elif isinstance(value, str):
                data = base64.b64decode(value)
                kept = self._cut(struct.unpack(f"<{len(data) // 4}f", data))
                one["embedding"] = base64.b64encode(struct.pack(f"<{len(kept)}f", *kept)).decode()
        return document

    def event(self, document: JsonObject) -> Iterator[JsonObject]:
        """Yield the event: embeddings are no stream."""
        yield document

    def _cut(self, numbers: Sequence[float]) -> Sequence[float]:
        if len(numbers) <= self._dimensions:
            return numbers
        kept = numbers[: self._dimensions]
        length = math.sqrt(sum(number * number for number in kept)) or 1.0
        return [number / length for number in kept]


def texts_of(document: JsonObject) -> list[JsonValue]:
    """Return the texts of a request, or their tokens, one entry for each embedding."""
    value = document.get("input")
    is_many = isinstance(value, list) and not all(isinstance(one, int) for one in value)
    return value if is_many and isinstance(value, list) else [value]
