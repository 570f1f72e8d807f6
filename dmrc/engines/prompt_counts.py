"""How much of its prompts an engine had to compute, as it counts itself."""

from __future__ import annotations

import asyncio
import re
from contextlib import closing
from dataclasses import dataclass

from dmrc.engines.session import Session
from dmrc.engines.unix_session import UnixSession

_SECONDS = 2.0

# Source: https://github.com/ggml-org/llama.cpp/blob/master/tools/server/server-task.cpp (`metrics`)
_COMPUTED = re.compile(rb"^llamacpp:prompt_tokens_total ([0-9.e+]+)$", re.MULTILINE)
_REUSED = re.compile(rb"^llamacpp:prompt_tokens_cached_total ([0-9.e+]+)$", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class PromptCounts:
    """Tokens of all prompts since the runner has started."""

    computed: int
    """Tokens that were computed."""
    reused: int
    """Tokens that were there already: in a slot, or in the prompt cache."""


async def prompt_counts(session: Session | None) -> PromptCounts | None:
    """Ask a runner; None where its engine does not count, or does not answer within two seconds."""
    if not isinstance(session, UnixSession):
        return None
    try:
        async with asyncio.timeout(_SECONDS):
            with closing(await session.get("/metrics")) as answer:
                told = b"".join([chunk async for chunk in answer])
    except (ConnectionError, TimeoutError):
        return None
    computed, reused = _COMPUTED.search(told), _REUSED.search(told)
    return PromptCounts(int(float(computed[1])), int(float(reused[1]))) if computed and reused else None
