"""From an engine's log to the one sentence that a person needs."""

from __future__ import annotations

import re
import signal
from dataclasses import dataclass

from dmrc.errors import EngineStartError, InsufficientMemoryError

_LLAMA = "https://github.com/ggml-org/llama.cpp/blob/master/"


@dataclass(frozen=True, slots=True)
class _Cause:
    """A line that an engine prints, and what it means."""

    pattern: re.Pattern[str]
    """Found in the log; groups fill the sentence."""
    sentence: str
    """Why it failed."""
    remedy: str
    """What to do."""
    source: str
    """Where upstream prints the line."""
    is_memory: bool = False
    """Whether memory was missing."""


def _cause(pattern: str, sentence: str, remedy: str, source: str, *, is_memory: bool = False) -> _Cause:
    return _Cause(re.compile(pattern, re.IGNORECASE), sentence, remedy, _LLAMA + source, is_memory)


_MORE_MEMORY = "Choose a smaller context_size or quantisation, or unload other models: dmrc ps"
_CAUSES = (
    _cause(
        r"unknown (?:model )?architecture: '([^']*)'",
        "this engine does not know the architecture '{0}'",
        "Use a newer engine, or a model of another architecture",
        "src/llama-model-loader.cpp",
    ),
    _cause(
        r"invalid magic characters|bad magic|not a gguf file|failed to read magic",
        "the file is not GGUF",
        "Package a GGUF file: dmrc package --gguf FILE REFERENCE",
        "ggml/src/gguf.cpp",
    ),
    _cause(
        r"missing tensor '([^']*)'|tensor '([^']*)' not found",
        "the file has no tensor '{0}'",
        "The file is damaged or made for another engine; pull or convert it again",
        "src/llama-model-loader.cpp",
    ),
    _cause(
        r"error loading model vocabulary: (.*)|unknown pre-tokenizer type: '([^']*)'",
        "its tokenizer cannot be read: {0}",
        "Convert the model again with a converter that this engine knows",
        "src/llama-vocab.cpp",
    ),
    _cause(
        r"data is not within the file bounds|tensor data .* out of bounds|corrupted or incomplete",
        "the file is shorter than its header says",
        "It is cut off: remove it and pull it again",
        "src/llama-model-loader.cpp",
    ),
    _cause(
        r"out of memory|failed to allocate|cudaMalloc failed|ErrorOutOfDeviceMemory|std::bad_alloc"
        r"|insufficient memory|unable to allocate|cannot allocate memory",
        "there is not enough memory for it",
        _MORE_MEMORY,
        "ggml/src/ggml-backend.cpp",
        is_memory=True,
    ),
    _cause(
        r"(?:failed to parse|error while parsing|invalid).{0,40}chat template",
        "its chat template cannot be parsed",
        "Package it with another: dmrc package --chat-template FILE",
        "common/chat.cpp",
    ),
    _cause(
        r"couldn't bind|address already in use|failed to bind",
        "its socket is taken",
        "Another program uses it; run: dmrc stop-runner",
        "tools/server/server-http.cpp",
    ),
)

_SIGNALS = {
    signal.SIGILL: ("its program was built for another processor", "Use another build of it, or xllamacpp"),
    signal.SIGKILL: ("the system killed it, most likely for want of memory", _MORE_MEMORY),
    signal.SIGSEGV: ("it crashed", "This is a fault of the engine; try another version of it"),
    signal.SIGABRT: ("it aborted", "This is a fault of the engine, or of the model's file"),
}


def start_failure(name: str, exit_code: int, log: str, path: str) -> EngineStartError | InsufficientMemoryError:
    """Return why the engine of model `name` did not start: by its log, else by its exit code."""
    for cause in _CAUSES:
        match = cause.pattern.search(log)
        if match is not None:
            found = next((group for group in match.groups() if group), "")
            kind = InsufficientMemoryError if cause.is_memory else EngineStartError
            sentence = cause.sentence.format(found.strip()[:120])
            return kind(f"model '{name}' does not start: {sentence}", remedy=f"{cause.remedy}. The log: {path}")
    if exit_code < 0 and (known := _SIGNALS.get(signal.Signals(-exit_code))):
        return EngineStartError(f"model '{name}' does not start: {known[0]}", remedy=f"{known[1]}. The log: {path}")
    return EngineStartError(
        f"model '{name}' does not start: its engine ended with exit code {exit_code}{_last_words(log)}",
        remedy=f"The log: {path}",
    )


def _last_words(log: str) -> str:
    """Return the last line that looks like an error."""
    lines = [line.strip() for line in log.splitlines() if re.search(r"error|fail| E ", line, re.IGNORECASE)]
    return f" ({lines[-1][:200]})" if lines else ""
