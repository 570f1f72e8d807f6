"""The arguments of `vllm serve`.

Source: https://docs.vllm.ai/en/latest/cli/serve/
"""

from __future__ import annotations

import json

from dmrc.engines.engine import Launch
from dmrc.engines.local_model import Companion, Companions, local
from dmrc.engines.runtime_flags import as_arguments
from dmrc.engines.vllm.architecture import read_object
from dmrc.engines.vllm.flags import parse
from dmrc.errors import EngineError
from dmrc.project import ServingOptions

LORA_NAME = "with-lora"
"""What the model with its LoRA adapter is called: vLLM applies it to requests that ask for that name."""

UTILIZATION_FLAG = "--gpu-memory-utilization"

_RANKS = (1, 8, 16, 32, 64, 128, 256, 320, 512)  # Source: MaxLoRARanks in vllm/config/lora.py
_DRAFT_TOKENS = 3
_RUNNERS = {"embedding": "pooling", "rerank": "pooling"}


def arguments(launch: Launch, kv_bytes: int | None) -> list[str]:
    """Return all arguments; `kv_bytes` is the room for keys and values, None leaves it to vLLM.

    Raises:
        EngineError: A file beside the model is none that vLLM reads.
    """
    model, options = local(launch.model), launch.options
    words = ["serve", str(model.path), "--uds", str(launch.socket), "--served-model-name", launch.name]
    words += ["--runner", _RUNNERS.get(options.mode or "", "generate"), "--max-num-seqs", str(launch.parallel)]
    words += ["--disable-uvicorn-access-log", "--enable-prompt-tokens-details"]
    if options.context_size is not None:
        words += ["--max-model-len", str(options.context_size)]
    if model.chat_template is not None:
        words += ["--chat-template", str(model.chat_template)]
    words += _beside(model.companions, options)
    if kv_bytes is not None:
        words += ["--kv-cache-memory-bytes", str(kv_bytes)]
    if options.gpu_memory_utilization is not None:
        words += [UTILIZATION_FLAG, str(options.gpu_memory_utilization)]
    if options.hf_overrides is not None:
        words += ["--hf-overrides", options.hf_overrides]
    return words + as_arguments(parse(options.runtime_flags or ()))


def _beside(companions: Companions, options: ServingOptions) -> list[str]:
    """Return the arguments for what is loaded beside the model."""
    words: list[str] = []
    for lora in companions.loras:
        words += ["--enable-lora", "--max-lora-rank", str(_rank(lora))]
        words += ["--lora-modules", json.dumps({"name": LORA_NAME, "path": _directory(lora, "LoRA adapter")})]
    if companions.draft is not None:
        draft = {
            "method": "draft_model",
            "model": _directory(companions.draft, "draft"),
            "num_speculative_tokens": options.draft_tokens or _DRAFT_TOKENS,
        }
        words += ["--speculative-config", json.dumps(draft)]
    return words


def _directory(companion: Companion, what: str) -> str:
    if companion.facts is not None or not companion.path.is_dir():
        raise EngineError(f"engine 'vllm' needs a {what} in safetensors, as a directory", remedy="Use engine llama.cpp")
    return str(companion.path)


def _rank(lora: Companion) -> int:
    """Return the rank to make room for: the next that vLLM has."""
    rank = read_object(lora.path / "adapter_config.json").get("r", 16)
    return next((known for known in _RANKS if isinstance(rank, int) and known >= rank), _RANKS[-1])
