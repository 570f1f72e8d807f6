"""Runtime flags of llama.cpp's server: parsed and checked before anything starts."""

from __future__ import annotations

from collections.abc import Sequence

from dmrc.engines.llama_cpp.flags_refused import FORBIDDEN
from dmrc.engines.llama_cpp.flags_table import FLAGS, FORMER
from dmrc.engines.runtime_flags import FlagTable, Setting
from dmrc.errors import RuntimeFlagError
from dmrc.project import Mode

_TABLE = FlagTable(FLAGS, FORBIDDEN, FORMER, example='["--temp", "0.2"]', documentation="llama-server's documentation")

parse = _TABLE.parse


def settings_of(flags: Sequence[str]) -> dict[str, str]:
    """Return flags by name; a switch has an empty value, and of two that are set the last one counts.

    Raises:
        RuntimeFlagError: As `parse`.
    """
    return {setting.flag.names[-1]: setting.value or "" for setting in parse(flags)}


def parallel(flags: Sequence[str]) -> int | None:
    """Return how many requests at the same time `-np` asks for; None without it.

    Raises:
        RuntimeFlagError: As `parse`.
    """
    asked = [int(one.value) for one in parse(flags) if one.flag.names[-1] == "--parallel" and one.value]
    return asked[-1] if asked else None


def mode(flags: Sequence[str]) -> Mode | None:
    """Return what `--embeddings` or `--reranking` says that the model is for; None without them.

    Raises:
        RuntimeFlagError: As `parse`.
    """
    names = {one.flag.names[-1] for one in parse(flags)}
    if "--reranking" in names:
        return "rerank"
    return "embedding" if "--embeddings" in names else None


def chooses_no_slots(flags: Sequence[str]) -> bool:
    """Return whether the flags leave to us which slot a request gets, and prompts stay in slots at all.

    Raises:
        RuntimeFlagError: As `parse`.
    """
    return settings_of(flags).keys().isdisjoint(("--slot-prompt-similarity", "--no-cache-prompt"))


def refuse_without_binary(settings: Sequence[Setting]) -> None:
    """Refuse the flags that only a llama-server binary has.

    Raises:
        RuntimeFlagError: One is set.
    """
    for one in settings:
        if one.flag.attribute is None:
            raise RuntimeFlagError(
                f"runtime flag '{one.written}' needs a llama-server binary",
                remedy="Add one by dmrc engine install --from PATH, or set DMRC_LLAMA_SERVER to it",
            )
