"""Who guesses the next tokens, which the model then checks in one step: a head of its own, or a draft model."""

from __future__ import annotations

import subprocess
from collections.abc import Sequence
from functools import cache
from pathlib import Path

from dmrc.engines.llama_cpp.flags import parse
from dmrc.engines.local_model import LocalModel, facts_of
from dmrc.errors import InputError
from dmrc.gguf import GgufFacts

HEAD = "draft-mtp"
"""The type of a head in the model's own file, or in a file of its own (multi-token prediction)."""

# llama.cpp computes with the head of these. Those of others it passes over, and aborts where it is told to use one.
# Source: DECODER_MTP in https://github.com/ggml-org/llama.cpp/tree/master/src/models
WITH_HEADS = frozenset(
    {
        *("bailingmoe3", "cohere2moe", "deepseek2", "deepseek32", "deepseek4", "glm-dsa", "glm4moe", "glm5-next"),
        *("hy_v3", "mimo2", "nemotron_h_moe", "qwen35", "qwen35moe", "qwen3next", "step35"),
    }
)
_OF_DRAFTS = {"eagle3": "draft-eagle3", "dflash": "draft-dflash"}
_HELP_SECONDS = 10.0


def brings_head(facts: GgufFacts) -> bool:
    """Return whether the file has a head that llama.cpp can use: most architectures know one head, and not several."""
    return facts.next_token_heads == 1 and facts.architecture in WITH_HEADS


def uses_head(facts: GgufFacts, flags: Sequence[str]) -> bool:
    """Return whether a model that was settled so guesses with the head in its own file."""
    return HEAD in types_in(flags) and facts.next_token_heads > 0


def types_in(flags: Sequence[str]) -> list[str]:
    """Return the types of speculation that flags name; of two flags the last one counts."""
    named = [one.value or "" for one in parse(flags) if one.flag.names[-1] == "--spec-type"]
    return named[-1].split(",") if named else []


def with_speculation(
    name: str, model: LocalModel | None, flags: tuple[str, ...], binary: Path | None
) -> tuple[str, ...]:
    """Return flags that also switch on what lies ready: the draft beside a model, or a head in its own file.

    `--spec-type none` keeps it off. A llama-server that is too old to know a head goes without.

    Raises:
        InputError: The flags ask for a draft or a head that the model, which messages call `name`, has not.
    """
    facts, named = facts_of(model), types_in(flags)
    draft = model.companions.draft if model is not None else None
    if "none" in named:
        return flags
    if wanted := next((each for each in named if each.startswith("draft-")), None):
        if draft is None and not (wanted == HEAD and brings_head(facts)):
            raise _lacking(name, wanted)
        return flags
    if draft is not None:
        return (*flags, "--spec-type", ",".join([*named, _type_of_draft(facts_of(draft), facts)]))
    if named or not brings_head(facts) or (binary is not None and not _knows_heads(binary)):
        return flags
    return (*flags, "--spec-type", HEAD)


def _lacking(name: str, wanted: str) -> InputError:
    if wanted == HEAD:
        return InputError(
            f"model '{name}' has no head that guesses ahead, which '--spec-type {HEAD}' asks for",
            remedy="Remove the flag, or name a draft: x-dmrc: {draft: ai/smaller}",
        )
    return InputError(
        f"model '{name}' has no draft, which '--spec-type {wanted}' asks for",
        remedy="Name one: x-dmrc: {draft: ai/smaller}",
    )


def _type_of_draft(draft: GgufFacts, model: GgufFacts) -> str:
    """Return how a draft guesses. A head in a file of its own is of its model's kind, and as wide."""
    is_head = (draft.architecture, draft.embedding_length) == (model.architecture, model.embedding_length)
    return _OF_DRAFTS.get(draft.architecture, HEAD if is_head and brings_head(draft) else "draft-simple")


def _knows_heads(binary: Path) -> bool:
    """Ask a llama-server once, and again when another file has its name."""
    try:
        changed = binary.stat().st_mtime_ns
    except OSError:
        return False
    return HEAD in _help(binary, changed)


@cache
def _help(binary: Path, changed: int) -> str:  # noqa: ARG001 another file has another help
    try:
        command = [str(binary), "--help"]
        said = subprocess.run(command, capture_output=True, text=True, check=False, timeout=_HELP_SECONDS)
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return said.stdout
