"""The header of a GGUF file: a bounded parser that trusts no length.

Source: https://github.com/ggml-org/ggml/blob/master/docs/gguf.md
"""

from __future__ import annotations

import math
import re
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from typing import BinaryIO

from dmrc.errors import GgufError

# More than any real model has; each keeps a hostile header from costing memory or minutes.
_MAX_HEADER_BYTES = 128 << 20
_MAX_ENTRIES = 65_536
_MAX_TENSORS = 100_000
_MAX_TEXT_BYTES = 512 << 10
_MAX_NUMBERS = 4096
_MAX_TEXTS = 50
_MAX_DIMENSIONS = 4
_LONGEST_NAME = 64
_MAX_ALIGNMENT = 1 << 20
_READ_BYTES = 1 << 20

# Source: NEXTN_EH_PROJ in https://github.com/ggml-org/llama.cpp/blob/master/gguf-py/gguf/constants.py
_HEAD_BEGINS = b".nextn.eh_proj.weight"

_BOOL, _STRING, _ARRAY = 7, 8, 9
_CODES = {0: "B", 1: "b", 2: "H", 3: "h", 4: "I", 5: "i", 6: "f", _BOOL: "?", 10: "Q", 11: "q", 12: "d"}
_SCALARS = {kind: struct.Struct(f"<{code}") for kind, code in _CODES.items()}
_U32, _U64 = _SCALARS[4], _SCALARS[10]

# Elements and bytes of one block of each tensor type.
# Source: GGML_QUANT_SIZES in https://github.com/ggml-org/llama.cpp/blob/master/gguf-py/gguf/constants.py
# fmt: off
_BLOCKS = {
    0: (1, 4), 1: (1, 2), 2: (32, 18), 3: (32, 20), 6: (32, 22), 7: (32, 24), 8: (32, 34), 9: (32, 40),
    10: (256, 84), 11: (256, 110), 12: (256, 144), 13: (256, 176), 14: (256, 210), 15: (256, 292), 16: (256, 66),
    17: (256, 74), 18: (256, 98), 19: (256, 50), 20: (32, 18), 21: (256, 110), 22: (256, 82), 23: (256, 136),
    24: (1, 1), 25: (1, 2), 26: (1, 4), 27: (1, 8), 28: (1, 8), 29: (256, 56), 30: (1, 2), 34: (256, 54),
    35: (256, 66), 39: (32, 17), 40: (64, 36), 41: (128, 18),
}
# fmt: on

_BLOCK = re.compile(rb"blk\.(\d{1,5})\.(?:ffn_(?:up|down|gate_up|gate)_(?:ch)?(exps))?")
_INPUT = (b"token_embd", b"token_types", b"position_embd", b"per_layer_token_embd")

Scalar = bool | int | float | str
"""A value of the header."""


@dataclass(frozen=True, slots=True)
class Header:
    """Keys, values, and what the table of tensors adds up to."""

    values: Mapping[str, Scalar | tuple[Scalar, ...]]
    """By key. Arrays of more than 50 strings or 4096 numbers are left out."""
    array_lengths: Mapping[str, int]
    """Entries of each array, those left out too."""
    parameters: int
    """Elements of all tensors."""
    tensor_bytes: int
    """Bytes of all tensors."""
    tensor_count: int
    """Number of tensors."""
    matrix_bytes: Mapping[int, int]
    """Bytes of the matrices that are multiplied with, by tensor type: not of the table that tokens are looked up in."""
    next_token_heads: int
    """Blocks that guess a token further ahead: so many have the matrix that they begin with."""
    layer_bytes: Mapping[str, int]
    """Bytes by layer: see `GgufFacts.layer_bytes`."""

    @classmethod
    def parse(cls, stream: BinaryIO, *, name: str) -> Header:
        """Read from a seekable stream; `name` is how errors call the file.

        Raises:
            GgufError: It is not GGUF, or its header lies about the file.
        """
        reader = _Reader(stream, name)
        magic = reader.start()
        if magic != b"GGUF":
            raise GgufError(f"'{name}' is not a GGUF file: it begins with {magic!r} instead of b'GGUF'")
        version = reader.number(_U32)
        if version not in (2, 3):
            raise reader.damaged(f"its version is {version}, and only little-endian versions 2 and 3 are read")
        tensor_count, entry_count = reader.number(_U64), reader.number(_U64)
        if tensor_count > _MAX_TENSORS or entry_count > _MAX_ENTRIES:
            raise reader.damaged(f"it claims {tensor_count} tensors and {entry_count} keys")
        values, array_lengths = _read_entries(reader, entry_count)
        alignment = values.get("general.alignment", 32)
        if not isinstance(alignment, int) or not 0 < alignment <= _MAX_ALIGNMENT:
            raise reader.damaged(f"its alignment is {str(alignment)[:40]}")
        parameters, tensor_bytes, tensors = _measure_tensors(reader, tensor_count, alignment)
        by_type, by_layer, heads = tensors.by_type(), tensors.by_layer, tensors.next_token_heads
        return cls(values, array_lengths, parameters, tensor_bytes, tensor_count, by_type, heads, by_layer)


class _Reader:
    """Reads forward in large steps, and never past the end of the file."""

    def __init__(self, stream: BinaryIO, name: str) -> None:
        self._stream = stream
        self._name = name
        self._size = stream.seek(0, 2)
        self._buffer = b""
        self._at = 0  # of what was read, in the buffer
        self._end = 0  # of the buffer, in the file
        self._text_bytes = 0

    def start(self) -> bytes:
        """Return the first four bytes, or what there is of them."""
        self._stream.seek(0)
        return self.take(min(4, self._size))

    def damaged(self, reason: str) -> GgufError:
        return GgufError(f"'{self._name}' is a damaged GGUF file: {reason}", remedy="Fetch or convert it again")

    @property
    def position(self) -> int:
        return self._end - len(self._buffer) + self._at

    @property
    def left(self) -> int:
        return self._size - self.position

    def take(self, count: int) -> bytes:
        if len(self._buffer) - self._at < count:
            self._fill(count)
        self._at += count
        return self._buffer[self._at - count : self._at]

    def number(self, form: struct.Struct) -> int:
        return int(form.unpack(self.take(form.size))[0])

    def text(self) -> str:
        length = self.number(_U64)
        self._text_bytes += length
        if self._text_bytes > _MAX_TEXT_BYTES:
            raise self.damaged(f"it holds more than {_MAX_TEXT_BYTES} bytes of text outside its vocabulary")
        return self.take(length).decode(errors="replace")

    def name(self) -> bytes:
        """Return a short text; a long one is skipped, and empty."""
        length = self.number(_U64)
        if length <= _LONGEST_NAME:
            return self.take(length)
        self.skip(length)
        return b""

    def skip(self, count: int) -> None:
        if count > self.left:
            raise self.damaged("its header is cut off")
        if self._at + count <= len(self._buffer):
            self._at += count
            return
        self._end = self._stream.seek(self.position + count)
        self._buffer, self._at = b"", 0

    def skip_texts(self, count: int) -> None:
        """Skip an array of strings. Vocabularies are this: the one loop whose speed counts."""
        unpack, buffer, at = _U64.unpack_from, self._buffer, self._at
        for _ in range(count):
            if at + 8 > len(buffer):
                self.skip(at - self._at)
                self._fill(8)
                buffer, at = self._buffer, self._at
            at += 8 + unpack(buffer, at)[0]
        self.skip(at - self._at)

    def _fill(self, count: int) -> None:
        if count > self.left:
            raise self.damaged("its header is cut off")
        if self.position > _MAX_HEADER_BYTES:
            raise self.damaged(f"its header is larger than {_MAX_HEADER_BYTES} bytes")
        rest = self._buffer[self._at :]
        more = self._stream.read(max(_READ_BYTES, count - len(rest)))
        if len(rest) + len(more) < count:
            raise self.damaged("it changed while it was read")
        self._buffer, self._at = rest + more, 0
        self._end += len(more)


def _read_entries(reader: _Reader, count: int) -> tuple[dict[str, Scalar | tuple[Scalar, ...]], dict[str, int]]:
    values: dict[str, Scalar | tuple[Scalar, ...]] = {}
    array_lengths: dict[str, int] = {}
    for _ in range(count):
        key = reader.text()
        kind = reader.number(_U32)
        if key in values or key in array_lengths:
            raise reader.damaged(f"it gives {key[:80]!r} twice")
        if kind != _ARRAY:
            values[key] = _read_scalar(reader, kind)
            continue
        kind, array_lengths[key] = reader.number(_U32), reader.number(_U64)
        entries = _read_array(reader, kind, array_lengths[key])
        if entries is not None:
            values[key] = entries
    return values, array_lengths


def _read_scalar(reader: _Reader, kind: int) -> Scalar:
    if kind == _STRING:
        return reader.text()
    form = _SCALARS.get(kind)
    if form is None:
        raise reader.damaged(f"it holds a value of the unknown type {kind}")
    value: Scalar = form.unpack(reader.take(form.size))[0]
    return value


def _read_array(reader: _Reader, kind: int, count: int) -> tuple[Scalar, ...] | None:
    """Return the entries, or skip them and return None when there are too many to keep."""
    smallest = 8 if kind == _STRING else _SCALARS[kind].size if kind in _SCALARS else 0
    if not smallest:
        raise reader.damaged(f"it holds an array of the unknown type {kind}")
    if count * smallest > reader.left:
        raise reader.damaged(f"it claims an array of {count} entries")
    if count <= (_MAX_TEXTS if kind == _STRING else _MAX_NUMBERS):
        return tuple(_read_scalar(reader, kind) for _ in range(count))
    if kind == _STRING:
        reader.skip_texts(count)
    else:
        reader.skip(count * smallest)
    return None


def _measure_tensors(reader: _Reader, count: int, alignment: int) -> tuple[int, int, _Tensors]:
    """Return the elements and the bytes of all tensors, and their bytes by type and by layer."""
    parameters = size = end = 0
    knows_all, tensors = True, _Tensors()
    for index in range(count):
        name = reader.name()
        dimension_count = reader.number(_U32)
        if dimension_count > _MAX_DIMENSIONS:
            raise reader.damaged(f"tensor {index} has {dimension_count} dimensions")
        elements = math.prod(reader.number(_U64) for _ in range(dimension_count))
        kind, offset = reader.number(_U32), reader.number(_U64)
        block_elements, block_bytes = _BLOCKS.get(kind, (1, 0))
        knows_all = knows_all and kind in _BLOCKS
        tensor_bytes = -(-elements // block_elements) * block_bytes
        parameters += elements
        size += tensor_bytes
        tensors.add(name, kind, tensor_bytes, is_matrix=dimension_count > 1)
        end = max(end, offset + tensor_bytes)
    data_bytes = max(0, reader.left - -reader.position % alignment)
    if end > data_bytes:
        raise reader.damaged(f"its tensors need {end} bytes, and {data_bytes} follow its header")
    # A type that is newer than our table: what follows the header is the best answer, padding included.
    return parameters, size if knows_all else data_bytes, tensors


def _layer(name: bytes) -> str:
    """Return which layer a tensor is of, by the names that all architectures share: see `GgufFacts.layer_bytes`.

    Source: llm_tensor_info_for in https://github.com/ggml-org/llama.cpp/blob/master/src/llama-arch.cpp
    """
    block = _BLOCK.match(name)
    if block is not None:
        return f"{int(block[1])}{' experts' if block[2] else ''}"
    if name.startswith(_INPUT):
        return "input"
    return "head" if name == b"output.weight" else "output"


class _Tensors:
    """Adds up tensors by layer, and matrices by type. Without an output matrix the table of tokens is one too."""

    def __init__(self) -> None:
        self.by_layer: dict[str, int] = {}
        self._bytes: dict[int, int] = {}
        self._table: tuple[int, int] | None = None
        self._has_output = False
        self.next_token_heads = 0

    def add(self, name: bytes, kind: int, size_bytes: int, *, is_matrix: bool) -> None:
        layer = _layer(name)
        self.by_layer[layer] = self.by_layer.get(layer, 0) + size_bytes
        if not is_matrix:
            return
        if name == b"token_embd.weight":
            self._table = (kind, size_bytes)
            return
        self._has_output = self._has_output or name == b"output.weight"
        self.next_token_heads += name.endswith(_HEAD_BEGINS)
        self._bytes[kind] = self._bytes.get(kind, 0) + size_bytes

    def by_type(self) -> dict[int, int]:
        if self._table is not None and not self._has_output:
            kind, size_bytes = self._table
            return {**self._bytes, kind: self._bytes.get(kind, 0) + size_bytes}
        return self._bytes
