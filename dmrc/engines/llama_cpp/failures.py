"""What llama.cpp prints when it cannot start, and what that means."""

from __future__ import annotations

import re

from dmrc.engines.failures import MORE_MEMORY, Cause

# Where upstream prints each line; the text itself finds it there, line numbers would not last.
_LLAMA = "https://github.com/ggml-org/llama.cpp/blob/master/"


def _cause(pattern: str, sentence: str, remedy: str, source: str, *, is_memory: bool = False) -> Cause:
    return Cause(re.compile(pattern, re.IGNORECASE), sentence, remedy, _LLAMA + source, is_memory)


_FETCH_AGAIN = "Remove it and pull it again: dmrc rm, dmrc pull"

# The first that is found counts: a line that names a cause stands before one that only names its consequence.
CAUSES = (
    _cause(
        r"failed to apply lora adapter: (.*)",
        "a LoRA adapter does not fit it: {0}",
        "Use an adapter that was made for this model",
        "src/llama-adapter.cpp",
    ),
    _cause(
        r"failed to load draft model",
        "its draft model cannot be loaded",
        "Use a smaller model of the same family",
        "tools/server/server-context.cpp",
    ),
    _cause(
        r"failed to load multimodal model",
        "its multimodal projector cannot be loaded",
        "Use the mmproj file that was made for this model",
        "tools/server/server-context.cpp",
    ),
    _cause(
        r"unknown (?:model )?architecture: '([^']*)'",
        "{program} does not know the architecture '{0}'",
        "Use a newer engine, or a model of another architecture",
        "src/llama-model.cpp",
    ),
    _cause(
        r"invalid magic characters|failed to read magic",
        "the file is not GGUF",
        "Package a GGUF file: dmrc package --gguf FILE REFERENCE",
        "ggml/src/gguf.cpp",
    ),
    _cause(
        r"this GGUF file is version (\d+) but this software only supports up to|GGUFv(1) is no longer supported",
        "{program} does not read GGUF files of version {0}",
        "Use a newer engine, or convert the model again",
        "ggml/src/gguf.cpp",
    ),
    _cause(
        r"failed to open GGUF file '[^']*' \(([^)]*)\)|failed to load GGUF split from (.*)",
        "a file of the model cannot be opened: {0}",
        "Check the store with: dmrc list",
        "ggml/src/gguf.cpp",
    ),
    _cause(
        r"data is not within the file bounds|corrupted or incomplete|gguf_init_from\w+: failed to read",
        "the file is shorter than its header says",
        _FETCH_AGAIN,
        "src/llama-model-loader.h",
    ),
    _cause(
        r"missing tensor '([^']*)'|tensor '([^']*)' not found",
        "the file has no tensor '{0}'",
        "The file is damaged or made for another engine; pull or convert it again",
        "src/llama-model-loader.cpp",
    ),
    _cause(
        r"tensor '([^']*)' has wrong shape|wrong number of tensors; expected (.*)",
        "its tensors are not those of its architecture ({0})",
        "The file is damaged, or the engine is too old for it; convert it again, or use a newer engine",
        "src/llama-model-loader.cpp",
    ),
    _cause(
        r"error loading model vocabulary: (.*)",
        "its tokenizer cannot be read: {0}",
        "Use a newer engine, or convert the model again",
        "src/llama-vocab.cpp",
    ),
    # Every backend has its own words: ggml/src/ggml-backend.cpp, ggml-cuda/, ggml-vulkan/, ggml-metal/.
    _cause(
        r"insufficient memory|failed to allocate .*buffer|cudaMalloc failed|CUDA error: out of memory|std::bad_alloc"
        r"|ErrorOutOf(?:Device|Host)Memory|Device memory allocation of size \d+ failed|InsufficientMemory"
        r"|unable to allocate|cannot allocate memory|out of memory",
        "there is not enough memory for it",
        MORE_MEMORY,
        "ggml/src/ggml-backend.cpp",
        is_memory=True,
    ),
    _cause(
        r"chat template parsing error|failed to initialize chat template",
        "its chat template cannot be parsed",
        "Package it with another: dmrc package --chat-template FILE",
        "tools/server/server-context.cpp",
    ),
    _cause(
        r"couldn't bind|address already in use",
        "its socket is taken",
        "Another program uses it; run: dmrc stop-runner",
        "tools/server/server-http.cpp",
    ),
    _cause(
        r"error: invalid argument: (\S+)",
        "{program} does not know the flag '{0}'",
        "Remove it from runtime_flags, or use another version of llama-server",
        "common/arg.cpp",
    ),
    _cause(
        r"quantized V cache (?:requires flash_attn|was requested, but this requires Flash Attention)",
        "a quantised V cache needs Flash Attention, which is off here",
        "Remove -ctv or -fa off from runtime_flags",
        "src/llama-context.cpp",
    ),
)
"""In this order: see `start_failure`."""
