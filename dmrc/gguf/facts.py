"""What a GGUF header means: the facts that dmrc shows, and computes memory from."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import BinaryIO

from dmrc.errors import GgufError
from dmrc.gguf.header import Header, Scalar

_MAX_SHOWN = 50
_MAX_BLOCKS = 4096

# fmt: off
# general.file_type. Source: LlamaFileType in https://github.com/ggml-org/llama.cpp/blob/master/gguf-py/gguf/constants.py.
_FILE_TYPES = {
    0: "F32", 1: "F16", 2: "Q4_0", 3: "Q4_1", 7: "Q8_0", 8: "Q5_0", 9: "Q5_1", 10: "Q2_K", 11: "Q3_K_S",
    12: "Q3_K_M", 13: "Q3_K_L", 14: "Q4_K_S", 15: "Q4_K_M", 16: "Q5_K_S", 17: "Q5_K_M", 18: "Q6_K", 19: "IQ2_XXS",
    20: "IQ2_XS", 21: "Q2_K_S", 22: "IQ3_XS", 23: "IQ3_XXS", 24: "IQ1_S", 25: "IQ4_NL", 26: "IQ3_S", 27: "IQ3_M",
    28: "IQ2_S", 29: "IQ2_M", 30: "IQ4_XS", 31: "IQ1_M", 32: "BF16", 36: "TQ1_0", 37: "TQ2_0", 38: "MXFP4_MOE",
    39: "NVFP4", 40: "Q1_0",
}
# fmt: on


@dataclass(frozen=True, slots=True, kw_only=True)
class GgufFacts:
    """The facts that dmrc shows, and computes memory from. A number that the header does not give is 0."""

    architecture: str
    """`general.architecture`: `llama`; empty in the second and later files of a split model."""
    name: str | None
    """`general.name`."""
    quantization: str
    """Name of `general.file_type`: `Q4_K_M`; `unknown` when absent or new to us."""
    parameters: int
    """Number of weights, of all tensors."""
    tensor_bytes: int
    """Bytes of all tensors."""
    tensor_count: int
    """Number of tensors."""
    context_length: int | None
    """Tokens that the model was trained with."""
    block_count: int
    """Number of transformer blocks."""
    embedding_length: int
    """Width of the residual stream."""
    head_count: int
    """Attention heads of a block, the largest where blocks differ."""
    head_counts_kv: tuple[int, ...]
    """Key-value heads of each block."""
    key_length: int
    """Elements of one key of one head."""
    value_length: int
    """Elements of one value of one head."""
    sliding_window: int | None
    """Tokens that blocks with a sliding window look back; None without one."""
    vocabulary_size: int
    """Number of tokens in the vocabulary."""
    feed_forward_length: int
    """Inner width of the feed-forward layers, the largest where blocks differ."""
    pooling_type: int | None
    """Pooling of an embedding model (1 mean, 2 cls, 3 last, 4 rank); None or 0 in others."""
    chat_template: str | None
    """`tokenizer.chat_template`, Jinja."""
    split_count: int
    """Number of files that the model is split into; 1 for a model in one file."""
    metadata: Mapping[str, str] = field(repr=False)
    """Every key and value as text; arrays of more than 50 entries are left out."""
    matrix_bytes: Mapping[int, int] = field(default_factory=dict, repr=False)
    """Bytes of the matrices that are multiplied with, by the number of their type in GGUF."""
    next_token_heads: int = 0
    """Blocks, the last ones, that guess a token further ahead (multi-token prediction)."""
    layer_bytes: Mapping[str, int] = field(default_factory=dict, repr=False)
    """Bytes of all tensors by layer: `input` is what tokens are looked up in, `0` and so on are the blocks, `0 experts`
    what of a block only some tokens use, `head` the matrix of the output, and `output` everything else."""
    split_number: int = 0
    """Which of the files of a split model it is, from 0."""

    @property
    def is_causal(self) -> bool:
        """Return whether it writes text: a model whose tokens see those behind them does not."""
        return self.metadata.get(f"{self.architecture}.attention.causal") != "false"

    @classmethod
    def parse(cls, stream: BinaryIO, *, name: str) -> GgufFacts:
        """Read the header of the file that the seekable `stream` has open, and nothing of its weights.

        `name` is how errors call the file.

        Raises:
            GgufError: It is not GGUF, or its header lies about the file.
        """
        header = Header.parse(stream, name=name)
        read = _Values(header, name)
        heads = read.integer("attention.head_count")
        width = read.integer("embedding_length") // heads if heads else 0
        return cls(
            architecture=read.architecture,
            name=read.text("general.name"),
            quantization=_FILE_TYPES.get(read.general("general.file_type", -1), "unknown"),
            parameters=header.parameters,
            tensor_bytes=header.tensor_bytes,
            tensor_count=header.tensor_count,
            context_length=read.integer("context_length") or None,
            block_count=read.integer("block_count"),
            embedding_length=read.integer("embedding_length"),
            head_count=heads,
            head_counts_kv=read.per_block("attention.head_count_kv", heads),
            key_length=read.integer("attention.key_length", width),
            value_length=read.integer("attention.value_length", width),
            sliding_window=read.integer("attention.sliding_window") or None,
            vocabulary_size=header.array_lengths.get("tokenizer.ggml.tokens") or read.integer("vocab_size"),
            feed_forward_length=read.integer("feed_forward_length"),
            pooling_type=read.integer("pooling_type", -1) if read.has("pooling_type") else None,
            chat_template=read.text("tokenizer.chat_template"),
            split_count=read.general("split.count", 1) or 1,
            metadata=_as_text(header),
            matrix_bytes=header.matrix_bytes,
            next_token_heads=header.next_token_heads,
            layer_bytes=header.layer_bytes,
            split_number=read.general("split.no", 0) or 0,
        )

    def with_shards(self, others: Iterable[GgufFacts]) -> GgufFacts:
        """Return the facts of a split model: these, with the tensors of its other files added."""
        shards = [self, *others]
        return replace(
            self,
            parameters=sum(shard.parameters for shard in shards),
            tensor_bytes=sum(shard.tensor_bytes for shard in shards),
            tensor_count=sum(shard.tensor_count for shard in shards),
            matrix_bytes=sum((Counter(shard.matrix_bytes) for shard in shards), Counter()),
            next_token_heads=sum(shard.next_token_heads for shard in shards),
            layer_bytes=sum((Counter(shard.layer_bytes) for shard in shards), Counter()),
        )


def format_parameters(count: int) -> str:
    """Return a number of weights as Docker Model Runner prints it: `134.52 M`."""
    units = ("", " K", " M", " B", " T")
    power = 0
    while power + 1 < len(units) and count >= 1000 ** (power + 1):
        power += 1
    return f"{count / 1000**power:.2f}".removesuffix(".00") + units[power]


def format_size(size_bytes: float) -> str:
    """Return a size in decimal units, as Docker has them: `98.36 MB`. The one form of sizes everywhere."""
    count = size_bytes
    for unit in ("B", "kB", "MB", "GB"):
        if count < 1000:
            return f"{count:.0f} {unit}" if unit == "B" else f"{count:.2f} {unit}"
        count /= 1000
    return f"{count:.2f} TB"


class _Values:
    """Looks up values of the type that they must have; keys of the architecture are written without its prefix."""

    def __init__(self, header: Header, name: str) -> None:
        self._values = header.values
        self._name = name
        self.architecture = self.text("general.architecture") or ""
        # The second and later files of a split model hold nothing but tensors.
        if not self.architecture and not self.general("split.no", 0):
            raise self._damaged("it does not say its general.architecture")

    def text(self, key: str) -> str | None:
        value = self._values.get(key)
        return value if isinstance(value, str) else None

    def has(self, key: str) -> bool:
        return f"{self.architecture}.{key}" in self._values

    def integer(self, key: str, default: int = 0) -> int:
        """Return a number of the architecture; of an array, which has one entry a block, the largest."""
        return self.general(f"{self.architecture}.{key}", default)

    def general(self, key: str, default: int) -> int:
        if key not in self._values:
            return default
        return max(self._integers(key), default=default)

    def per_block(self, key: str, default: int) -> tuple[int, ...]:
        """Return one number a block, whether the header gives one for all or one for each."""
        blocks = self.integer("block_count")
        if blocks > _MAX_BLOCKS:
            raise self._damaged(f"it claims {blocks} blocks")
        if not self.has(key):
            return (default,) * blocks
        numbers = self._integers(f"{self.architecture}.{key}")
        return numbers * blocks if len(numbers) == 1 else numbers

    def _integers(self, key: str) -> tuple[int, ...]:
        value = self._values[key]
        numbers = []
        for entry in value if isinstance(value, tuple) else (value,):
            if not isinstance(entry, int) or not 0 <= entry < 1 << 32:
                raise self._damaged(f"{key} is {str(value)[:40]}, where a number is wanted")
            numbers.append(entry)
        return tuple(numbers)

    def _damaged(self, reason: str) -> GgufError:
        return GgufError(f"'{self._name}' is a damaged GGUF file: {reason}", remedy="Fetch or convert it again")


def _as_text(header: Header) -> dict[str, str]:
    shown = {}
    for key, value in header.values.items():
        if not isinstance(value, tuple):
            shown[key] = _scalar_as_text(value)
        elif len(value) <= _MAX_SHOWN:
            shown[key] = ", ".join(map(_scalar_as_text, value))
    return shown


def _scalar_as_text(value: Scalar) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    # Most floats of a header are 32 bits wide: more digits than this would show noise.
    return f"{value:.7g}" if isinstance(value, float) else str(value)
