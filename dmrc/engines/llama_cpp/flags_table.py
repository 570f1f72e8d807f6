"""The runtime flags that a project may set, each with the place where xllamacpp keeps it, and those that it may not.

The first list is Docker Model Runner's allowlist for llama.cpp without what would break the gateway, and what llama.cpp
has added since, under llama.cpp's names.
Source: https://github.com/ggml-org/llama.cpp/blob/master/tools/server/README.md and
https://github.com/docker/model-runner/blob/main/pkg/inference/runtime_flags_allowlist.go
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from dmrc.engines.runtime_flags import DMRC, Flag, FlagKind


def _choices(prefix: str, *words: str) -> tuple[tuple[str, str], ...]:
    return tuple((word, f"{prefix}{word.replace('-', '_').upper()}") for word in words)


_CACHE_TYPES = _choices("ggml_type.GGML_TYPE_", "f32", "f16", "bf16", "q8_0", "q4_0", "q4_1", "iq4_nl", "q5_0", "q5_1")
_FLASH = (
    ("on", "llama_flash_attn_type.LLAMA_FLASH_ATTN_TYPE_ENABLED"),
    ("off", "llama_flash_attn_type.LLAMA_FLASH_ATTN_TYPE_DISABLED"),
    ("auto", "llama_flash_attn_type.LLAMA_FLASH_ATTN_TYPE_AUTO"),
)
_LOAD = "llama_load_mode.LLAMA_LOAD_MODE_"
_LOAD_MODES = (
    *_choices(_LOAD, "auto", "none", "mmap", "mlock"),
    ("mmap+mlock", f"{_LOAD}MMAP_MLOCK"),
    ("dio", f"{_LOAD}DIRECT_IO"),
)
_NUMA = _choices("ggml_numa_strategy.GGML_NUMA_STRATEGY_", "distribute", "isolate", "numactl")
_PRIORITIES = tuple(
    (str(number), f"ggml_sched_priority.GGML_SCHED_PRIO_{name}")
    for number, name in enumerate(("LOW", "NORMAL", "MEDIUM", "HIGH", "REALTIME"), start=-1)
)
_POOLING = _choices("llama_pooling_type.LLAMA_POOLING_TYPE_", "none", "mean", "cls", "last", "rank")
_REASONING = _choices("common_reasoning_format.COMMON_REASONING_FORMAT_", "none", "auto", "deepseek", "deepseek-legacy")
_ROPE = _choices("llama_rope_scaling_type.LLAMA_ROPE_SCALING_TYPE_", "none", "linear", "yarn")
_GUESSERS = (
    *("draft-simple", "draft-eagle3", "draft-mtp", "draft-dflash", "draft-dspark"),
    *("ngram-simple", "ngram-map-k", "ngram-map-k4v", "ngram-mod", "ngram-cache"),
)
_SPECULATION = (
    rf"none|({'|'.join(_GUESSERS)})(,({'|'.join(_GUESSERS)}))*",
    f"none, or one or more of {', '.join(_GUESSERS)}, with commas",
)
_SPLIT = _choices("llama_split_mode.LLAMA_SPLIT_MODE_", "none", "layer", "row", "tensor")
_LAYERS = (r"[0-9]+|-1|auto|all", "a number of layers, auto or all")
_SHARES = (r"[0-9.]+(,[0-9.]+)*", "a list of shares, such as 3,1")
_WORDS = tuple((word, "") for word in ("on", "off", "auto"))

_LETTERS = (r"[a-z]+", "a word of small letters")
_BIAS = (r"[0-9]+[+-][0-9]+(\.[0-9]+)?", "a token's number with a bias, such as 15043+1")
_LAZY = _choices("llama_lazy_mode.LLAMA_LAZY_MODE_", "on", "auto", "off")


def _of_draft(flag: str, kind: FlagKind, attribute: str, **limits: Any) -> Iterator[Flag]:
    """Yield a flag of the processor that drafts have of their own, for single tokens and for batches."""
    for batch in ("", "-batch"):
        place = f"speculative.draft.cpuparams{batch.replace('-', '_')}.{attribute}"
        yield Flag((f"--{flag}{batch}-draft", f"--spec-draft-{flag}{batch}"), kind, place, **limits)


FLAGS = (
    # What dmrc itself acts on
    Flag(("-np", "--parallel"), "int", DMRC, at_least=1),
    Flag(("--embedding", "--embeddings"), "on", DMRC),
    Flag(("--rerank", "--reranking"), "on", DMRC),
    # Processor and batches
    Flag(("-t", "--threads"), "int", "cpuparams.n_threads"),
    Flag(("-tb", "--threads-batch"), "int", "cpuparams_batch.n_threads"),
    Flag(("--threads-http",), "int", "n_threads_http"),
    Flag(("-C", "--cpu-mask"), "word"),
    Flag(("-Cr", "--cpu-range"), "word"),
    Flag(("-Cb", "--cpu-mask-batch"), "word"),
    Flag(("-Crb", "--cpu-range-batch"), "word"),
    Flag(("--cpu-strict",), "int", "cpuparams.strict_cpu", at_least=0, at_most=1),
    Flag(("--cpu-strict-batch",), "int", "cpuparams_batch.strict_cpu", at_least=0, at_most=1),
    Flag(("--prio",), "choice", "cpuparams.priority", _PRIORITIES),
    Flag(("--prio-batch",), "choice", "cpuparams_batch.priority", _PRIORITIES[1:]),
    Flag(("--poll",), "int", "cpuparams.poll", at_least=0, at_most=100),
    Flag(("--poll-batch",), "int", "cpuparams_batch.poll", at_least=0, at_most=100),
    Flag(("-b", "--batch-size"), "int", "n_batch", at_least=1),
    Flag(("-ub", "--ubatch-size"), "int", "n_ubatch", at_least=1),
    Flag(("-cb", "--cont-batching"), "on", "cont_batching"),
    Flag(("-nocb", "--no-cont-batching"), "off", "cont_batching"),
    Flag(("--numa",), "choice", "numa", _NUMA),
    Flag(("--perf",), "off", "no_perf sampling.no_perf"),
    Flag(("--no-perf",), "on", "no_perf sampling.no_perf"),
    # How the file is read
    Flag(("-lm", "--load-mode"), "choice", "load_mode", _LOAD_MODES),
    Flag(("--check-tensors",), "on", "check_tensors"),
    Flag(("--warmup",), "on", "warmup"),
    Flag(("--no-warmup",), "off", "warmup"),
    Flag(("--repack",), "off", "no_extra_bufts"),
    Flag(("-nr", "--no-repack"), "on", "no_extra_bufts"),
    Flag(("--no-host",), "on", "no_host"),
    Flag(("-lzm", "--lazy-mode"), "choice", "lazy_mode", _LAZY),
    # Offload
    Flag(("-dev", "--device"), "word"),
    Flag(("-ngl", "--gpu-layers", "--n-gpu-layers"), "word", "n_gpu_layers", pattern=_LAYERS),
    Flag(("-fit", "--fit"), "choice", "fit_params", (("on", "1"), ("off", "0"))),
    Flag(("-fitt", "--fit-target"), "word"),
    Flag(("-fitc", "--fit-ctx"), "int", "fit_params_min_ctx", at_least=1),
    Flag(("-sm", "--split-mode"), "choice", "split_mode", _SPLIT),
    Flag(("-ts", "--tensor-split"), "word", "tensor_split", pattern=_SHARES),
    Flag(("-mg", "--main-gpu"), "int", "main_gpu", at_least=0),
    Flag(("-cmoe", "--cpu-moe"), "on"),
    Flag(("-ncmoe", "--n-cpu-moe"), "int", at_least=0),
    Flag(("-ncffn", "--n-cpu-ffn"), "int", at_least=0),
    Flag(("-kvo", "--kv-offload"), "off", "no_kv_offload"),
    Flag(("-nkvo", "--no-kv-offload"), "on", "no_kv_offload"),
    Flag(("--op-offload",), "off", "no_op_offload"),
    Flag(("--no-op-offload",), "on", "no_op_offload"),
    # Attention and the context's memory
    Flag(("-fa", "--flash-attn"), "choice", "flash_attn_type", _FLASH),
    Flag(("-ctk", "--cache-type-k"), "choice", "cache_type_k", _CACHE_TYPES),
    Flag(("-ctv", "--cache-type-v"), "choice", "cache_type_v", _CACHE_TYPES),
    Flag(("--swa-full",), "on", "swa_full"),
    Flag(("--keep",), "int", "n_keep", at_least=-1),
    Flag(("--context-shift",), "on", "ctx_shift"),
    Flag(("--no-context-shift",), "off", "ctx_shift"),
    Flag(("--cache-prompt",), "on", "cache_prompt"),
    Flag(("--no-cache-prompt",), "off", "cache_prompt"),
    Flag(("--cache-reuse",), "int", "n_cache_reuse", at_least=0),
    Flag(("--cache-idle-slots",), "on", "cache_idle_slots"),
    Flag(("--no-cache-idle-slots",), "off", "cache_idle_slots"),
    Flag(("-cms", "--checkpoint-min-step"), "int", "checkpoint_min_step", at_least=0),
    # -1 is without a limit in llama.cpp, which no estimate of memory could count
    Flag(("-cram", "--cache-ram"), "int", "cache_ram_mib", at_least=0),
    Flag(("-sps", "--slot-prompt-similarity"), "float", "slot_prompt_similarity", at_least=0),
    # Positions
    Flag(("--rope-scaling",), "choice", "rope_scaling_type", _ROPE),
    Flag(("--rope-scale",), "float", "rope_freq_scale", at_least=0.001),
    Flag(("--rope-freq-base",), "float", "rope_freq_base"),
    Flag(("--rope-freq-scale",), "float", "rope_freq_scale"),
    Flag(("--yarn-orig-ctx",), "int", "yarn_orig_ctx", at_least=0),
    Flag(("--yarn-ext-factor",), "float", "yarn_ext_factor"),
    Flag(("--yarn-attn-factor",), "float", "yarn_attn_factor"),
    Flag(("--yarn-beta-slow",), "float", "yarn_beta_slow"),
    Flag(("--yarn-beta-fast",), "float", "yarn_beta_fast"),
    # Sampling: what a request does not say
    Flag(("--samplers",), "word", "sampling.samplers"),
    Flag(("--sampler-seq", "--sampling-seq"), "word", pattern=_LETTERS),
    Flag(("--temp", "--temperature"), "float", "sampling.temp", at_least=0),
    Flag(("--top-k",), "int", "sampling.top_k"),
    Flag(("--top-p",), "float", "sampling.top_p"),
    Flag(("--min-p",), "float", "sampling.min_p"),
    Flag(("--top-nsigma", "--top-n-sigma"), "float"),
    Flag(("--typical", "--typical-p"), "float", "sampling.typ_p"),
    Flag(("--xtc-probability",), "float", "sampling.xtc_probability"),
    Flag(("--xtc-threshold",), "float", "sampling.xtc_threshold"),
    Flag(("--repeat-last-n",), "int", "sampling.penalty_last_n", at_least=0),
    Flag(("--repeat-penalty",), "float", "sampling.penalty_repeat"),
    Flag(("--presence-penalty",), "float", "sampling.penalty_present"),
    Flag(("--frequency-penalty",), "float", "sampling.penalty_freq"),
    Flag(("--dry-multiplier",), "float", "sampling.dry_multiplier"),
    Flag(("--dry-base",), "float", "sampling.dry_base"),
    Flag(("--dry-allowed-length",), "int", "sampling.dry_allowed_length"),
    Flag(("--dry-penalty-last-n",), "int", "sampling.dry_penalty_last_n", at_least=0),
    Flag(("--dry-sequence-breaker",), "text"),
    Flag(("--adaptive-target",), "float", "sampling.adaptive_target"),
    Flag(("--adaptive-decay",), "float", "sampling.adaptive_decay", at_least=0),
    Flag(("--dynatemp-range",), "float", "sampling.dynatemp_range"),
    Flag(("--dynatemp-exp",), "float", "sampling.dynatemp_exponent"),
    Flag(("--mirostat",), "int", "sampling.mirostat", at_least=0, at_most=2),
    Flag(("--mirostat-lr",), "float", "sampling.mirostat_eta"),
    Flag(("--mirostat-ent",), "float", "sampling.mirostat_tau"),
    Flag(("-s", "--seed"), "int", "sampling.seed", at_least=-1, at_most=(1 << 32) - 1),
    Flag(("--ignore-eos",), "on", "sampling.ignore_eos"),
    Flag(("-l", "--logit-bias"), "word", pattern=_BIAS),
    Flag(("-r", "--reverse-prompt"), "text", "antiprompt"),
    Flag(("-bs", "--backend-sampling"), "on", "sampling.backend_sampling"),
    Flag(("--grammar",), "text", "sampling.grammar"),
    Flag(("-j", "--json-schema"), "json", "sampling.grammar"),
    Flag(("-n", "--predict", "--n-predict"), "int", "n_predict", at_least=-1),
    # Chats
    Flag(("--jinja",), "on", "use_jinja"),
    Flag(("--no-jinja",), "off", "use_jinja"),
    Flag(("--chat-template",), "text", "chat_template"),
    Flag(("--chat-template-kwargs",), "json", "default_template_kwargs"),
    Flag(("-rea", "--reasoning"), "choice", "enable_reasoning", _WORDS),
    Flag(("--reasoning-format",), "choice", "reasoning_format", _REASONING),
    Flag(("--reasoning-budget",), "int", "sampling.reasoning_budget_tokens", at_least=-1),
    Flag(("--reasoning-budget-message",), "text", "sampling.reasoning_budget_message"),
    Flag(("--reasoning-effort",), "word", "default_template_kwargs", pattern=_LETTERS),
    Flag(("--reasoning-preserve",), "on", "preserve_reasoning_specified"),
    Flag(("--no-reasoning-preserve",), "on", "preserve_reasoning_specified"),
    Flag(("--prefill-assistant",), "on", "prefill_assistant"),
    Flag(("--no-prefill-assistant",), "off", "prefill_assistant"),
    Flag(("--skip-chat-parsing",), "on", "force_pure_content_parser"),
    Flag(("--no-skip-chat-parsing",), "off", "force_pure_content_parser"),
    Flag(("-sp", "--special"), "on", "special"),
    Flag(("--spm-infill",), "on"),
    # Embeddings and images
    Flag(("--pooling",), "choice", "pooling_type", _POOLING),
    Flag(("--embd-normalize",), "int", "embd_normalize", at_least=-1),
    Flag(("--image-min-tokens",), "int", "image_min_tokens"),
    Flag(("--image-max-tokens",), "int", "image_max_tokens"),
    Flag(("--mmproj-offload",), "on", "mmproj_use_gpu"),
    Flag(("--no-mmproj-offload",), "off", "mmproj_use_gpu"),
    Flag(("-mmdev", "--mmproj-device"), "word"),
    Flag(("--mtmd-batch-max-tokens",), "int", "mtmd_batch_max_tokens", at_least=1),
    Flag(("--video-fps",), "float", "video_fps", at_least=0.1),
    Flag(("--video-timestamp-interval",), "int", "video_timestamp_interval_ms", at_least=1),
    # Speculation: by a draft or the model's own head, which dmrc switches on by itself, or by none (ngram-*)
    Flag(("--spec-type",), "word", "speculative.types", pattern=_SPECULATION),
    Flag(("--spec-draft-n-max",), "int", "speculative.draft.n_max", at_least=0),
    Flag(("--spec-draft-n-min",), "int", "speculative.draft.n_min", at_least=0),
    Flag(("-td", "--threads-draft", "--spec-draft-threads"), "int", "speculative.draft.cpuparams.n_threads"),
    Flag(
        ("-tbd", "--threads-batch-draft", "--spec-draft-threads-batch"),
        "int",
        "speculative.draft.cpuparams_batch.n_threads",
    ),
    Flag(("-ngld", "--gpu-layers-draft", "--n-gpu-layers-draft", "--spec-draft-ngl"), "word"),
    Flag(("-devd", "--device-draft", "--spec-draft-device"), "word"),
    Flag(("--draft-p-min", "--spec-draft-p-min"), "float", "speculative.draft.p_min"),
    Flag(("--draft-p-split", "--spec-draft-p-split"), "float", "speculative.draft.p_split"),
    *(
        Flag((f"-ct{of}d", f"--cache-type-{of}-draft", f"--spec-draft-type-{of}"), "choice", place, _CACHE_TYPES)
        for of, place in (("k", "speculative.draft.cache_type_k"), ("v", "speculative.draft.cache_type_v"))
    ),
    Flag(("-Cd", "--cpu-mask-draft", "--spec-draft-cpu-mask"), "word"),
    Flag(("-Crd", "--cpu-range-draft", "--spec-draft-cpu-range"), "word"),
    Flag(("-Cbd", "--cpu-mask-batch-draft", "--spec-draft-cpu-mask-batch"), "word"),
    *_of_draft("cpu-strict", "int", "strict_cpu", at_least=0, at_most=1),
    *_of_draft("prio", "choice", "priority", choices=_PRIORITIES[1:]),
    *_of_draft("poll", "int", "poll", at_least=0, at_most=100),
    Flag(("-cmoed", "--cpu-moe-draft", "--spec-draft-cpu-moe"), "on"),
    Flag(("-ncmoed", "--n-cpu-moe-draft", "--spec-draft-ncmoe", "--spec-draft-n-cpu-moe"), "int", at_least=0),
    Flag(("--spec-draft-backend-sampling",), "on", "speculative.draft.backend_sampling"),
    Flag(("--no-spec-draft-backend-sampling",), "off", "speculative.draft.backend_sampling"),
    *(
        Flag((f"--spec-ngram-mod-n-{part}",), "int", f"speculative.ngram_mod.n_{part}", at_least=least, at_most=1024)
        for part, least in (("min", 0), ("max", 0), ("match", 1))
    ),
    *(
        Flag(
            (f"--spec-{kind}-{part}",), "int", f"speculative.{kind}.{part}".replace("-", "_"), at_least=1, at_most=1024
        )
        for kind in ("ngram-simple", "ngram-map-k", "ngram-map-k4v")
        for part in ("size-n", "size-m", "min-hits")
    ),
    # The server
    Flag(("-to", "--timeout"), "int", "timeout_read timeout_write", at_least=1),
    Flag(("--sse-ping-interval",), "int", "sse_ping_interval", at_least=-1),
    Flag(("-v", "--log-verbose", "--verbose"), "on", "verbosity", (("", "5"),)),
    # Below 3 the log would not say why the engine does not start.
    Flag(("-lv", "--log-verbosity", "--verbosity"), "int", "verbosity", at_least=3, at_most=5),
)
"""The allowlist."""

FORMER = {
    "--mlock": ("--load-mode", "mmap+mlock"),
    "--mmap": ("--load-mode", "mmap"),
    "--no-mmap": ("--load-mode", "none"),
    "-dio": ("--load-mode", "dio"),
    "--direct-io": ("--load-mode", "dio"),
    "-ndio": ("--load-mode", "auto"),
    "--no-direct-io": ("--load-mode", "auto"),
}
"""Switches that llama.cpp has taken away, each with the flag and value that it is read as.

Today's llama-server does not start with one of them.
"""
