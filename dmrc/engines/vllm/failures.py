"""What vLLM prints when it cannot start, and what that means."""

from __future__ import annotations

import re

from dmrc.engines.failures import MORE_MEMORY, Cause

_VLLM = "https://github.com/vllm-project/vllm/blob/main/vllm/"


def _cause(pattern: str, sentence: str, remedy: str, source: str, *, is_memory: bool = False) -> Cause:
    return Cause(re.compile(pattern), sentence, remedy, _VLLM + source, is_memory)


_UNIVERSAL = "Choose a model that vLLM knows: https://docs.vllm.ai/en/latest/models/supported_models/"

# The first that is found counts: a line that names a cause stands before one that only names its consequence.
CAUSES = (
    _cause(
        r"No package metadata was found for vllm|No module named '?vllm'?",
        "vLLM is not installed whole: Python finds no package 'vllm'",
        "Install the package vllm in that environment",
        "entrypoints/cli/main.py",
    ),
    _cause(
        r"unrecognized arguments: (\S+)",
        "{program} does not know the flag '{0}'",
        "Remove it from runtime_flags, or use a newer vLLM",
        "utils/argparse_utils.py",
    ),
    _cause(
        r"argument (-\S+): (invalid [^\n]+)",
        "{program} does not accept the value of flag '{0}'",
        "Write another value under runtime_flags",
        "engine/arg_utils.py",
    ),
    _cause(
        r"invalid tool call parser: (\S+)|invalid reasoning parser: (\S+)",
        "{program} has no parser '{0}'",
        "Write another one under runtime_flags",
        "entrypoints/launchers/launcher.py",
    ),
    _cause(
        r"Failed to infer device type",
        "{program} finds no graphics card that it was built for",
        "Install a vLLM for this machine: https://docs.vllm.ai/en/latest/getting_started/installation/",
        "config/device.py",
    ),
    _cause(
        r"Model architectures \['([^']*)'[^\]]*\] are not supported",
        "{program} does not know the architecture '{0}'",
        _UNIVERSAL,
        "model_executor/models/registry.py",
    ),
    _cause(
        r"model type `([^`]*)` but Transformers does not recognize",
        "{program} does not know the model type '{0}'",
        f"Use a newer vLLM. {_UNIVERSAL}",
        "transformers_utils/config.py",
    ),
    _cause(
        r"trust_remote_code=True",
        "the model brings code of its own, which dmrc does not run",
        _UNIVERSAL,
        "transformers_utils/config.py",
    ),
    _cause(
        r"(?:greater|larger) than the derived max_model_len \((?:\w+=)?(\d+)",
        "its context_size is above the {0} tokens that the model was trained for",
        "Write a smaller context_size",
        "config/model.py",
    ),
    _cause(
        r"max seq len \((\d+)\)",
        "there is not enough memory for a context of {0} tokens",
        MORE_MEMORY,
        "v1/core/kv_cache_utils.py",
        is_memory=True,
    ),
    _cause(
        r"No available memory for the cache blocks",
        "there is no memory left for its contexts",
        "Give it more of the card: x-dmrc: {gpu_memory_utilization: 0.9}; or unload other models: dmrc ps",
        "v1/core/kv_cache_utils.py",
        is_memory=True,
    ),
    _cause(
        r"Free memory on device \S+ \(([^)]*)\) on startup is less than",
        "of the card's memory only {0} GiB is free, which is less than the share that vLLM takes",
        "Write a smaller share, x-dmrc: {gpu_memory_utilization: 0.5}; or unload other models: dmrc ps",
        "v1/worker/utils.py",
        is_memory=True,
    ),
    _cause(
        r"on kv cache allocation is less than requested memory",
        "there is not enough memory for its contexts",
        MORE_MEMORY,
        "v1/worker/cpu_worker.py",
        is_memory=True,
    ),
    _cause(
        r"CUDA out of memory|HIP out of memory|OutOfMemoryError|CUDA error: out of memory|DefaultCPUAllocator: can't "
        r"allocate memory|MemoryError|Cannot allocate memory",
        "there is not enough memory for it",
        MORE_MEMORY,
        "v1/worker/gpu_worker.py",
        is_memory=True,
    ),
    _cause(
        r"CUDA driver version is insufficient|driver on your system is too old|no CUDA-capable device"
        r"|No CUDA GPUs are available",
        "{program} cannot use the graphics card: its driver is missing or too old",
        "Install a newer driver, or a vLLM that was built for it; see: dmrc doctor",
        "v1/worker/gpu_worker.py",
    ),
    _cause(
        r"Following weights were not initialized from checkpoint: \{?'?([\w.]+)",
        "the file has no tensor '{0}'",
        "The file is damaged or made for another engine; pull or convert it again",
        "model_executor/model_loader/default_loader.py",
    ),
    _cause(
        r"There is no module or parameter named '([^']+)'",
        "its architecture has no tensor '{0}', which is in the file",
        "The file is damaged or made for another engine; pull or convert it again",
        "model_executor/models/utils.py",
    ),
    _cause(
        r"SafetensorError|HeaderTooLarge|MetadataIncompleteBuffer|InvalidHeader|Error while deserializing header",
        "a file of its weights cannot be read",
        "Remove it and pull it again: dmrc rm, dmrc pull",
        "model_executor/model_loader/weight_utils.py",
    ),
    _cause(
        r"Cannot find any model weights",
        "it has no weights that vLLM reads",
        "Package a directory with safetensors: dmrc package --safetensors-dir DIR REFERENCE",
        "model_executor/model_loader/default_loader.py",
    ),
    _cause(
        r"[Cc]an't load tokenizer|Couldn't instantiate the backend tokenizer|tokenizer class you load"
        r"|Tokenizer class (\S+) does not exist",
        "its tokenizer cannot be read",
        "Package it with the tokenizer's files: tokenizer.json, tokenizer_config.json",
        "tokenizers/hf.py",
    ),
    _cause(
        r"LoRA rank (\d+) is greater than max_lora_rank|does not appear to have a file named adapter_config",
        "its LoRA adapter cannot be used",
        "Use an adapter that was made for this model, as a directory with adapter_config.json",
        "lora/peft_helper.py",
    ),
    _cause(
        r"No working C\+\+ compiler found|InvalidCxxCompiler|Failed to find C compiler|Python\.h: No such file",
        "{program} compiles what it computes, and there is no compiler",
        'Install g++ and Python\'s headers, or write runtime_flags: ["--enforce-eager"]',
        "compilation/backends.py",
    ),
    # What an engine or a worker of it ended with; the server itself only says that it did.
    _cause(
        r"\((?:EngineCore|\w*Worker)[^)\n]*\) ERROR [^\n]*\] ((?:\w+\.)*\w*(?:Error|Exception): [^\n]+)",
        "its engine ended with {0}",
        "See the log for more",
        "v1/engine/core.py",
    ),
)
"""In this order: see `start_failure`."""
