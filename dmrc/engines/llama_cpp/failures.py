"""From an engine's log to the one sentence that a person needs."""

from __future__ import annotations

import re
import signal
from dataclasses import dataclass
from pathlib import Path

from dmrc.errors import EngineError, EngineStartError, InsufficientMemoryError

# Where upstream prints each line; the text itself finds it there, line numbers would not last.
_LLAMA = "https://github.com/ggml-org/llama.cpp/blob/master/"


@dataclass(frozen=True, slots=True)
class _Cause:
    """A line that an engine prints, and what it means."""

    pattern: re.Pattern[str]
    """Found in the log; groups fill the sentence."""
    sentence: str
    """Why it failed. `{0}` is the first group that matched, `{program}` the engine's program."""
    remedy: str
    """What to do."""
    source: str
    """Where upstream prints the line."""
    is_memory: bool = False
    """Whether memory was missing."""


def _cause(pattern: str, sentence: str, remedy: str, source: str, *, is_memory: bool = False) -> _Cause:
    return _Cause(re.compile(pattern, re.IGNORECASE), sentence, remedy, _LLAMA + source, is_memory)


_MORE_MEMORY = "Choose a smaller context_size or quantisation, or unload other models: dmrc ps"
_FETCH_AGAIN = "Remove it and pull it again: dmrc rm, dmrc pull"

# The first that is found counts: a line that names a cause stands before one that only names its consequence.
_CAUSES = (
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
        _MORE_MEMORY,
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

_TAIL_LINES = 5
_LONGEST_LINE = 200

_SIGNALS = {
    signal.SIGILL: ("{program} was built for another processor", "Use another build of it, or unset it for xllamacpp"),
    signal.SIGSEGV: ("{program} crashed", "This is a fault of the engine; try another version of it"),
    signal.SIGABRT: ("{program} aborted", "This is a fault of the engine, or of the model's file"),
    signal.SIGTERM: ("something else ended it", "Start it again"),
}


# Who sent SIGKILL: the system where it has run out of memory meanwhile (`oom_kills`), else a person or a program.
_KILLED: dict[bool | None, tuple[str, str]] = {
    True: ("the system killed it for want of memory", _MORE_MEMORY),
    False: ("it was killed (SIGKILL), and not for want of memory", "Look who did it; start it again"),
    None: ("it was killed (SIGKILL), by the system for want of memory or by somebody", _MORE_MEMORY),
}


@dataclass(frozen=True, slots=True)
class End:
    """How an engine child has ended."""

    program: str
    """What messages call the engine."""
    exit_code: int
    """Negative for a signal."""
    out_of_memory: bool | None
    """Whether the system killed processes for want of memory while it lived; None where the system does not tell."""

    def words(self) -> tuple[str, str] | None:
        """Return what a signal means, and what to do; None where it was none that says anything."""
        if self.exit_code == -signal.SIGKILL:
            return _KILLED[self.out_of_memory]
        known = _SIGNALS.get(signal.Signals(-self.exit_code)) if self.exit_code < 0 else None
        return None if known is None else (known[0].format(program=self.program), known[1])


def oom_kills() -> int | None:
    """Return how many processes the system has killed for want of memory, those of control groups among them.

    Source: OOM_KILL in https://github.com/torvalds/linux/blob/master/mm/oom_kill.c
    """
    try:
        with Path("/proc/vmstat").open() as counts:
            return next((int(line.split()[1]) for line in counts if line.startswith("oom_kill ")), None)
    except OSError:
        return None


def start_failure(name: str, end: End, log: str, path: Path) -> EngineError:
    """Return why the engine of model `name` ended: by its log, else by its exit code.

    `log` is what it wrote, and `path` is where that stands. The error is an `InsufficientMemoryError` where memory was
    missing, else an `EngineStartError`.
    """
    why, remedy, is_memory = _explain(end, log)
    kind = InsufficientMemoryError if is_memory else EngineStartError
    remedy = f"{remedy}. The log: {path}" if remedy else f"The log: {path}"
    error = kind(f"model '{name}' does not start: {why}", remedy=remedy)
    error.log_tail = tuple(line[:_LONGEST_LINE] for line in log.splitlines() if line.strip())[-_TAIL_LINES:]
    return error


def _explain(end: End, log: str) -> tuple[str, str, bool]:
    """Return why, what to do, and whether memory was missing."""
    for cause in _CAUSES:
        match = cause.pattern.search(log)
        if match is not None:
            found = next((group for group in match.groups() if group), "").strip()[:120]
            return cause.sentence.format(found, program=end.program), cause.remedy, cause.is_memory
    if (words := end.words()) is not None:
        return *words, end.exit_code == -signal.SIGKILL and end.out_of_memory is not False
    return f"{end.program} ended with exit code {end.exit_code}{_last_words(log)}", "", False


def _last_words(log: str) -> str:
    """Return the last line that looks like an error and says more than that there was one."""
    lines = [line.strip() for line in log.splitlines() if re.search(r"error|fail| E ", line, re.IGNORECASE)]
    telling = [line for line in lines if "check the input params" not in line and "exiting due to" not in line]
    return f" ({(telling or lines)[-1][:200]})" if lines else ""
