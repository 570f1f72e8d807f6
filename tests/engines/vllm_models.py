"""The models of the conformance suite as vLLM loads them: directories of safetensors.

The model for chats is the one that the other engines have too; the encoders have random weights.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path

import gguf
import numpy as np

from tests.tiny_safetensors import write_safetensors

_NAMES = {
    "token_embd": "model.embed_tokens",
    "output_norm": "model.norm",
    "attn_norm": "input_layernorm",
    "ffn_norm": "post_attention_layernorm",
    **{f"attn_{short}": f"self_attn.{long}_proj" for short, long in zip("qkv", "qkv", strict=True)},
    "attn_output": "self_attn.o_proj",
    **{f"ffn_{short}": f"mlp.{short}_proj" for short in ("gate", "up", "down")},
}
_ENCODER_WORDS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", *"abcdefghijklmnopqrstuvwxyz", "whale", "ship"]
_ENCODER_CONTEXT, _WIDTH, _WIDER, _LAYERS = 256, 64, 128, 2
_CONTROL = 3  # Source: gguf.TokenType


def write_llama_directory(source: Path, directory: Path) -> Path:
    """Write the llama of a GGUF file, whose tokens are byte pairs, into `directory` and return it."""
    reader = gguf.GGUFReader(source)
    said = {name: field.contents() for name, field in reader.fields.items()}
    heads, heads_kv = said["llama.attention.head_count"], said["llama.attention.head_count_kv"]
    directory.mkdir(parents=True)
    config = {
        "architectures": ["LlamaForCausalLM"],
        "model_type": "llama",
        "hidden_size": said["llama.embedding_length"],
        "intermediate_size": said["llama.feed_forward_length"],
        "num_hidden_layers": said["llama.block_count"],
        "num_attention_heads": heads,
        "num_key_value_heads": heads_kv,
        "max_position_embeddings": said["llama.context_length"],
        "vocab_size": len(said["tokenizer.ggml.tokens"]),
        "hidden_act": "silu",
        "rms_norm_eps": said["llama.attention.layer_norm_rms_epsilon"],
        "rope_theta": said["llama.rope.freq_base"],
        "tie_word_embeddings": True,
        "bos_token_id": said["tokenizer.ggml.bos_token_id"],
        "eos_token_id": said["tokenizer.ggml.eos_token_id"],
        "torch_dtype": "bfloat16",
    }
    _write(directory / "config.json", config)
    _write_byte_pairs(directory, said)
    write_safetensors(directory / "model.safetensors", list(_tensors(reader, heads, heads_kv)))
    return directory


def _tensors(reader: gguf.GGUFReader, heads: int, heads_kv: int) -> Iterator[tuple[str, np.ndarray]]:
    for tensor in reader.tensors:
        values = gguf.quants.dequantize(tensor.data, tensor.tensor_type).astype(np.float32)
        match = re.fullmatch(r"(?:blk\.(\d+)\.)?(\w+)\.weight", tensor.name)
        assert match is not None, tensor.name
        name = f"model.layers.{match[1]}.{_NAMES[match[2]]}" if match[1] else _NAMES[match[2]]
        if match[2] in ("attn_q", "attn_k"):
            # llama.cpp rotates neighbours, and transformers the two halves of a head.
            count = heads if match[2] == "attn_q" else heads_kv
            shape = values.shape
            values = values.reshape(count, shape[0] // count // 2, 2, shape[1]).swapaxes(1, 2).reshape(shape)
        yield f"{name}.weight", values


def _write_byte_pairs(directory: Path, said: dict[str, object]) -> None:
    tokens, kinds = said["tokenizer.ggml.tokens"], said["tokenizer.ggml.token_type"]
    assert isinstance(tokens, list)
    assert isinstance(kinds, list)
    steps = [
        {"type": "Digits", "individual_digits": True},
        {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": True},
    ]
    document = {
        "version": "1.0",
        "added_tokens": [
            {"id": number, "content": word, "special": True, "single_word": False, "lstrip": False, "rstrip": False}
            | {"normalized": False}
            for number, word in enumerate(tokens)
            if kinds[number] == _CONTROL
        ],
        "pre_tokenizer": {"type": "Sequence", "pretokenizers": steps},
        "decoder": steps[1],
        "model": {
            "type": "BPE",
            "vocab": {word: number for number, word in enumerate(tokens)},
            "merges": said["tokenizer.ggml.merges"],
        },
    }
    _write(directory / "tokenizer.json", document)
    end = tokens[said["tokenizer.ggml.eos_token_id"]]  # type: ignore[index]
    config = {"tokenizer_class": "PreTrainedTokenizerFast", "eos_token": end, "bos_token": None, "pad_token": end}
    _write(directory / "tokenizer_config.json", {**config, "model_max_length": said["llama.context_length"]})


def write_encoder_directory(directory: Path, *, ranks: bool) -> Path:
    """Write a BERT that gives embeddings, or one that `ranks`, into `directory` and return it."""
    directory.mkdir(parents=True)
    write_safetensors(directory / "model.safetensors", _encoder_tensors(ranks=ranks))
    config = {
        "architectures": ["BertForSequenceClassification" if ranks else "BertModel"],
        "model_type": "bert",
        "hidden_size": _WIDTH,
        "num_hidden_layers": _LAYERS,
        "num_attention_heads": 2,
        "intermediate_size": _WIDER,
        "max_position_embeddings": _ENCODER_CONTEXT,
        "vocab_size": len(_ENCODER_WORDS),
        "hidden_act": "gelu",
        "torch_dtype": "bfloat16",
        **({"id2label": {"0": "score"}, "label2id": {"score": 0}} if ranks else {}),
    }
    _write(directory / "config.json", config)
    _write_encoder_words(directory)
    return directory


def _encoder_tensors(*, ranks: bool) -> list[tuple[str, np.ndarray]]:
    random = np.random.default_rng(1)
    prefix = "bert." if ranks else ""

    def dense(name: str, rows: int, columns: int) -> list[tuple[str, np.ndarray]]:
        weights = (random.standard_normal((rows, columns)) / np.sqrt(columns)).astype(np.float32)
        return [(f"{name}.weight", weights), (f"{name}.bias", np.zeros(rows, np.float32))]

    def norm(name: str) -> list[tuple[str, np.ndarray]]:
        return [(f"{name}.weight", np.ones(_WIDTH, np.float32)), (f"{name}.bias", np.zeros(_WIDTH, np.float32))]

    tensors = []
    kinds = {"word": len(_ENCODER_WORDS), "position": _ENCODER_CONTEXT, "token_type": 2}
    for kind, rows in kinds.items():
        tensors += dense(f"{prefix}embeddings.{kind}_embeddings", rows, _WIDTH)[:1]
    tensors += norm(f"{prefix}embeddings.LayerNorm")
    for number in range(_LAYERS):
        layer = f"{prefix}encoder.layer.{number}"
        for part in ("query", "key", "value"):
            tensors += dense(f"{layer}.attention.self.{part}", _WIDTH, _WIDTH)
        tensors += dense(f"{layer}.attention.output.dense", _WIDTH, _WIDTH) + norm(
            f"{layer}.attention.output.LayerNorm"
        )
        tensors += dense(f"{layer}.intermediate.dense", _WIDER, _WIDTH)
        tensors += dense(f"{layer}.output.dense", _WIDTH, _WIDER) + norm(f"{layer}.output.LayerNorm")
    return tensors + dense(f"{prefix}pooler.dense", _WIDTH, _WIDTH) + (dense("classifier", 1, _WIDTH) if ranks else [])


def _write_encoder_words(directory: Path) -> None:
    pieces = [{"SpecialToken": {"id": "[CLS]", "type_id": 0}}, {"Sequence": {"id": "A", "type_id": 0}}]
    end, second = {"SpecialToken": {"id": "[SEP]", "type_id": 0}}, {"Sequence": {"id": "B", "type_id": 1}}
    marks = {mark: {"id": mark, "ids": [_ENCODER_WORDS.index(mark)], "tokens": [mark]} for mark in ("[CLS]", "[SEP]")}
    document = {
        "version": "1.0",
        "added_tokens": [],
        "pre_tokenizer": {"type": "Whitespace"},
        "post_processor": {
            "type": "TemplateProcessing",
            "single": [*pieces, end],
            "pair": [*pieces, end, second, {"SpecialToken": {"id": "[SEP]", "type_id": 1}}],
            "special_tokens": marks,
        },
        "model": {
            "type": "WordLevel",
            "vocab": {word: number for number, word in enumerate(_ENCODER_WORDS)},
            "unk_token": "[UNK]",
        },
    }
    _write(directory / "tokenizer.json", document)
    special = {f"{name}_token": f"[{name.upper()}]" for name in ("pad", "unk", "cls", "sep")}
    _write(
        directory / "tokenizer_config.json",
        {"tokenizer_class": "PreTrainedTokenizerFast", "model_max_length": _ENCODER_CONTEXT, **special},
    )


def _write(path: Path, document: object) -> None:
    path.write_text(json.dumps(document))
