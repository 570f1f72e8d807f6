"""Files in the format safetensors: what their headers say, and the `config.json` beside them.

A file is the length of its header in 8 bytes, the header in JSON, and the bytes of the tensors.
Source: https://github.com/huggingface/safetensors#format
"""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import BinaryIO, TypeGuard

from dmrc.errors import SafetensorsError

_LENGTH_BYTES = 8
_LARGEST_HEADER_BYTES = 16 << 20
_MOST_DIMENSIONS = 16
_MOST_ELEMENTS = 1 << 60


@dataclass(frozen=True, slots=True)
class SafetensorsHeader:
    """What one file holds."""

    parameters: Mapping[str, int]
    """Number of weights by their type, which is written as `BF16`."""
    tensor_count: int
    """Number of tensors."""
    tensor_bytes: int
    """Bytes of all tensors."""

    @classmethod
    def parse(cls, stream: BinaryIO, size_bytes: int, *, name: str) -> SafetensorsHeader:
        """Read the header of a file of so many bytes; `name` is how errors call it.

        Raises:
            SafetensorsError: It is not in this format, or not whole.
        """
        length = int.from_bytes(stream.read(_LENGTH_BYTES), "little")
        room = size_bytes - _LENGTH_BYTES - length
        if room < 0 or length > _LARGEST_HEADER_BYTES:
            raise SafetensorsError(f"'{name}' is not a safetensors file: its header would have {length} bytes")
        try:
            document = json.loads(stream.read(length))
        except (ValueError, RecursionError) as error:
            raise SafetensorsError(f"'{name}' is not a safetensors file: its header is not JSON") from error
        tensors = document if isinstance(document, dict) else {}
        tensors.pop("__metadata__", None)
        parameters: Counter[str] = Counter()
        end = 0
        for key, value in tensors.items():
            kind, elements, tensor_end = _tensor(value, f"'{name}' is not a safetensors file: its tensor '{key[:100]}'")
            parameters[kind] += elements
            end = max(end, tensor_end)
        if not tensors or end != room:
            raise SafetensorsError(
                f"'{name}' is not a whole safetensors file: it has {room} bytes of tensors, its header {end}"
            )
        return cls(dict(parameters), len(tensors), end)


def _tensor(value: object, which: str) -> tuple[str, int, int]:
    """Return the type of a tensor, its elements, and where its bytes end."""
    fields = value if isinstance(value, dict) else {}
    kind, shape, offsets = (fields.get(key) for key in ("dtype", "shape", "data_offsets"))
    if not isinstance(kind, str) or not kind.isascii() or not kind.isalnum() or len(kind) > 16:
        raise SafetensorsError(f"{which} has no type")
    if not _are_numbers(shape, _MOST_DIMENSIONS) or not _are_numbers(offsets, 2) or len(offsets) != 2:
        raise SafetensorsError(f"{which} has no shape or no place")
    elements = math.prod(shape)
    if elements > _MOST_ELEMENTS or offsets[0] > offsets[1]:
        raise SafetensorsError(f"{which} has a shape or a place that cannot be")
    return kind, elements, offsets[1]


def _are_numbers(value: object, most: int) -> TypeGuard[list[int]]:
    return isinstance(value, list) and len(value) <= most and all(type(each) is int and each >= 0 for each in value)


@dataclass(frozen=True, slots=True)
class SafetensorsFacts:
    """What is known of a model that is a directory."""

    architecture: str
    """First of `architectures` in `config.json`: `LlamaForCausalLM`; else its `model_type`; empty without both."""
    parameters: int
    """Number of weights; of weights that are packed, as 4-bit ones are, as many as their packets."""
    quantization: str
    """How the weights were made smaller, as `config.json` says it: `awq`; else the type of most of them: `BF16`."""
    tensor_bytes: int
    """Bytes of all tensors."""
    tensor_count: int
    """Number of tensors."""
    context_length: int | None
    """Tokens that the model was trained with."""

    @classmethod
    def of(cls, headers: Sequence[SafetensorsHeader], config: Mapping[str, object]) -> SafetensorsFacts:
        """Return the facts of a model with these files of weights and this `config.json`."""
        parameters: Counter[str] = Counter()
        for header in headers:
            parameters.update(header.parameters)
        usual = max(parameters, key=lambda kind: (parameters[kind], kind), default="")
        method = _object(config, "quantization_config").get("quant_method")
        return cls(
            architecture=architecture_of(config),
            parameters=parameters.total(),
            quantization=method if isinstance(method, str) and method.isprintable() else usual,
            tensor_bytes=sum(header.tensor_bytes for header in headers),
            tensor_count=sum(header.tensor_count for header in headers),
            context_length=trained_context(config),
        )


def trained_context(config: Mapping[str, object]) -> int | None:
    """Return the tokens that a model was trained with, by its `config.json`; None where it does not say."""
    places = (config, _object(config, "text_config"))
    said = (place.get(key) for key in ("max_position_embeddings", "n_ctx", "n_positions") for place in places)
    return next((value for value in said if type(value) is int and value > 0), None)


def architecture_of(config: Mapping[str, object]) -> str:
    """Return what a `config.json` calls the architecture; nothing where it does not say."""
    names = config.get("architectures")
    first = names[0] if isinstance(names, list) and names else config.get("model_type")
    return first if isinstance(first, str) and first.isprintable() else ""


def _object(config: Mapping[str, object], key: str) -> Mapping[str, object]:
    value = config.get(key)
    return value if isinstance(value, dict) else {}
