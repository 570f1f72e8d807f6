"""The runtime flags that a project may set, each with the place where xllamacpp keeps it.

The list is Docker Model Runner's allowlist for llama.cpp without what would break the gateway, under llama.cpp's names.
Source: https://github.com/ggml-org/llama.cpp/blob/master/tools/server/README.md
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Kind = Literal["int", "float", "text", "on", "off", "choice"]


@dataclass(frozen=True, slots=True)
class Flag:
    """One flag."""

    names: tuple[str, ...]
    """All spellings."""
    kind: Kind
    """What follows it: a value of that type, or for `on` and `off` nothing."""
    attribute: str | None = None
    """Dotted place in xllamacpp's `CommonParams`; None: only a llama-server binary has it."""
    choices: tuple[tuple[str, str], ...] = ()
    """For `choice`: word and name of the value in xllamacpp."""


def _choices(prefix: str, *words: str) -> tuple[tuple[str, str], ...]:
    return tuple((word, f"{prefix}{word.replace('-', '_').upper()}") for word in words)


_CACHE_TYPES = _choices("ggml_type.GGML_TYPE_", "f32", "f16", "bf16", "q8_0", "q4_0", "q4_1", "iq4_nl", "q5_0", "q5_1")
_FLASH = (
    ("on", "llama_flash_attn_type.LLAMA_FLASH_ATTN_TYPE_ENABLED"),
    ("off", "llama_flash_attn_type.LLAMA_FLASH_ATTN_TYPE_DISABLED"),
    ("auto", "llama_flash_attn_type.LLAMA_FLASH_ATTN_TYPE_AUTO"),
)
_REASONING = (
    ("none", "common_reasoning_format.COMMON_REASONING_FORMAT_NONE"),
    ("auto", "common_reasoning_format.COMMON_REASONING_FORMAT_AUTO"),
    ("deepseek", "common_reasoning_format.COMMON_REASONING_FORMAT_DEEPSEEK"),
    ("deepseek-legacy", "common_reasoning_format.COMMON_REASONING_FORMAT_DEEPSEEK_LEGACY"),
)

FLAGS = (
    # Processor and batches
    Flag(("-t", "--threads"), "int", "cpuparams.n_threads"),
    Flag(("-tb", "--threads-batch"), "int", "cpuparams_batch.n_threads"),
    Flag(("--threads-http",), "int", "n_threads_http"),
    Flag(("--prio",), "int"),
    Flag(("--poll",), "int", "cpuparams.poll"),
    Flag(("--cpu-strict",), "int"),
    Flag(("-b", "--batch-size"), "int", "n_batch"),
    Flag(("-ub", "--ubatch-size"), "int", "n_ubatch"),
    Flag(("-cb", "--cont-batching"), "on", "cont_batching"),
    Flag(("-nocb", "--no-cont-batching"), "off", "cont_batching"),
    Flag(("--numa",), "choice", "numa", _choices("ggml_numa_strategy.GGML_NUMA_STRATEGY_", "distribute", "isolate")),
    Flag(("--mlock",), "on"),
    Flag(("--no-mmap",), "on"),
    Flag(("--check-tensors",), "on", "check_tensors"),
    Flag(("--no-warmup",), "off", "warmup"),
    # Offload
    Flag(("-ngl", "--gpu-layers", "--n-gpu-layers"), "int", "n_gpu_layers"),
    Flag(
        ("-sm", "--split-mode"),
        "choice",
        "split_mode",
        _choices("llama_split_mode.LLAMA_SPLIT_MODE_", "none", "layer", "row"),
    ),
    Flag(("-ts", "--tensor-split"), "text"),
    Flag(("-mg", "--main-gpu"), "int", "main_gpu"),
    Flag(("-cmoe", "--cpu-moe"), "on"),
    Flag(("-ncmoe", "--n-cpu-moe"), "int"),
    Flag(("-nkvo", "--no-kv-offload"), "on", "no_kv_offload"),
    # Attention and the context's memory
    Flag(("-fa", "--flash-attn"), "choice", "flash_attn_type", _FLASH),
    Flag(("-ctk", "--cache-type-k"), "choice", "cache_type_k", _CACHE_TYPES),
    Flag(("-ctv", "--cache-type-v"), "choice", "cache_type_v", _CACHE_TYPES),
    Flag(("--swa-full",), "on", "swa_full"),
    Flag(("--keep",), "int", "n_keep"),
    Flag(("--context-shift",), "on", "ctx_shift"),
    Flag(("--no-context-shift",), "off", "ctx_shift"),
    Flag(("--cache-prompt",), "on", "cache_prompt"),
    Flag(("--no-cache-prompt",), "off", "cache_prompt"),
    Flag(("--cache-reuse",), "int", "n_cache_reuse"),
    Flag(("-cram", "--cache-ram"), "int", "cache_ram_mib"),
    Flag(("-sps", "--slot-prompt-similarity"), "float", "slot_prompt_similarity"),
    # Positions
    Flag(
        ("--rope-scaling",),
        "choice",
        "rope_scaling_type",
        _choices("llama_rope_scaling_type.LLAMA_ROPE_SCALING_TYPE_", "none", "linear", "yarn"),
    ),
    Flag(("--rope-scale",), "float"),
    Flag(("--rope-freq-base",), "float", "rope_freq_base"),
    Flag(("--rope-freq-scale",), "float", "rope_freq_scale"),
    Flag(("--yarn-orig-ctx",), "int", "yarn_orig_ctx"),
    Flag(("--yarn-ext-factor",), "float", "yarn_ext_factor"),
    Flag(("--yarn-attn-factor",), "float", "yarn_attn_factor"),
    Flag(("--yarn-beta-slow",), "float", "yarn_beta_slow"),
    Flag(("--yarn-beta-fast",), "float", "yarn_beta_fast"),
    # Sampling: what a request does not say
    Flag(("--temp", "--temperature"), "float", "sampling.temp"),
    Flag(("--top-k",), "int", "sampling.top_k"),
    Flag(("--top-p",), "float", "sampling.top_p"),
    Flag(("--min-p",), "float", "sampling.min_p"),
    Flag(("--typical", "--typical-p"), "float", "sampling.typ_p"),
    Flag(("--xtc-probability",), "float", "sampling.xtc_probability"),
    Flag(("--xtc-threshold",), "float", "sampling.xtc_threshold"),
    Flag(("--repeat-last-n",), "int", "sampling.penalty_last_n"),
    Flag(("--repeat-penalty",), "float", "sampling.penalty_repeat"),
    Flag(("--presence-penalty",), "float", "sampling.penalty_present"),
    Flag(("--frequency-penalty",), "float", "sampling.penalty_freq"),
    Flag(("--dry-multiplier",), "float", "sampling.dry_multiplier"),
    Flag(("--dry-base",), "float", "sampling.dry_base"),
    Flag(("--dry-allowed-length",), "int", "sampling.dry_allowed_length"),
    Flag(("--dry-penalty-last-n",), "int", "sampling.dry_penalty_last_n"),
    Flag(("--dynatemp-range",), "float", "sampling.dynatemp_range"),
    Flag(("--dynatemp-exp",), "float", "sampling.dynatemp_exponent"),
    Flag(("--mirostat",), "int", "sampling.mirostat"),
    Flag(("--mirostat-lr",), "float", "sampling.mirostat_eta"),
    Flag(("--mirostat-ent",), "float", "sampling.mirostat_tau"),
    Flag(("-s", "--seed"), "int", "sampling.seed"),
    Flag(("--ignore-eos",), "on", "sampling.ignore_eos"),
    Flag(("--samplers",), "text"),
    Flag(("--grammar",), "text"),
    Flag(("-j", "--json-schema"), "text"),
    Flag(("-n", "--predict", "--n-predict"), "int", "n_predict"),
    # Chats
    Flag(("--jinja",), "on", "use_jinja"),
    Flag(("--no-jinja",), "off", "use_jinja"),
    Flag(("--chat-template",), "text", "chat_template"),
    Flag(("--chat-template-kwargs",), "text"),
    Flag(("--reasoning-format",), "choice", "reasoning_format", _REASONING),
    Flag(("--reasoning-budget",), "int", "sampling.reasoning_budget_tokens"),
    Flag(("--no-prefill-assistant",), "off", "prefill_assistant"),
    Flag(("-sp", "--special"), "on", "special"),
    # Embeddings and images
    Flag(
        ("--pooling",),
        "choice",
        "pooling_type",
        _choices("llama_pooling_type.LLAMA_POOLING_TYPE_", "none", "mean", "cls", "last", "rank"),
    ),
    Flag(("--image-min-tokens",), "int", "image_min_tokens"),
    Flag(("--image-max-tokens",), "int", "image_max_tokens"),
    Flag(("--no-mmproj-offload",), "off", "mmproj_use_gpu"),
    # Speculation
    Flag(("--spec-draft-n-max",), "int"),
    Flag(("--spec-draft-n-min",), "int"),
    Flag(("--spec-draft-p-min",), "float"),
)
"""The allowlist."""

_OURS = "dmrc sets it"
_ROUTES = "it would break the gateway's way to the engine"
_FILES = "a compose file may not name files of this machine"

FORBIDDEN = {
    "-c": "write context_size: under the model instead",
    "--ctx-size": "write context_size: under the model instead",
    "-np": "write x-dmrc: {parallel: N} under the model instead",
    "--parallel": "write x-dmrc: {parallel: N} under the model instead",
    "-kvu": "each request has the whole context_size to itself",
    "--kv-unified": "each request has the whole context_size to itself",
    "--embedding": "dmrc starts a runner for embeddings when one is asked for",
    "--embeddings": "dmrc starts a runner for embeddings when one is asked for",
    "--rerank": "dmrc starts a runner for reranking when one is asked for",
    "--reranking": "dmrc starts a runner for reranking when one is asked for",
    "-m": "write model: instead",
    "--model": "write model: instead",
    "-mu": "write model: instead",
    "-hf": "write model: hf.co/… instead",
    "-a": _OURS,
    "--alias": _OURS,
    "--host": _OURS,
    "--port": _OURS,
    "--metrics": _OURS,
    "--slots": _OURS,
    "--props": _OURS,
    "--no-webui": _OURS,
    "--api-key": _ROUTES,
    "--api-key-file": _ROUTES,
    "--api-prefix": _ROUTES,
    "--path": _FILES,
    "--log-file": _FILES,
    "--lora": _FILES,
    "--mmproj": _FILES,
    "--model-draft": _FILES,
    "--chat-template-file": _FILES,
    "--grammar-file": _FILES,
    "--slot-save-path": _FILES,
    "--rpc": "it would send the model over the network",
    "-ot": "it names tensors of one engine's version",
    "--override-tensor": "it names tensors of one engine's version",
}
"""Flags that are refused, and why."""
