"""What an engine counts itself: how much of its prompts it had to compute, and how many requests it works on."""

from __future__ import annotations

import asyncio
import contextlib
import re
from contextlib import closing
from dataclasses import dataclass

from dmrc.engines.session import Session
from dmrc.engines.unix_session import UnixSession

_SECONDS = 2.0

# Source: https://github.com/ggml-org/llama.cpp/blob/master/tools/server/server-task.cpp (`server_task_result_metrics`)
_COUNT = re.compile(
    rb"^llamacpp:(prompt_tokens_total|prompt_tokens_cached_total|requests_processing) ([0-9.e+]+)$", re.MULTILINE
)


@dataclass(frozen=True, slots=True)
class Counts:
    """What llama.cpp's server tells of itself."""

    computed: int
    """Tokens of prompts that were computed since it has started."""
    reused: int
    """Tokens of prompts that were there already: in a slot, or in the prompt cache."""
    processing: int
    """Requests that hold a slot now."""


async def counts(session: Session | None) -> Counts | None:
    """Ask a runner; None where its engine does not count.

    It answers between two batches, so in the middle of a long prompt it takes as long as a batch.

    Raises:
        ConnectionError: It has gone.
    """
    if not isinstance(session, UnixSession):
        return None
    with closing(await session.get("/metrics")) as answer:
        told = dict(_COUNT.findall(b"".join([chunk async for chunk in answer])))
    names = (b"prompt_tokens_total", b"prompt_tokens_cached_total", b"requests_processing")
    return Counts(*(int(float(told[name])) for name in names)) if told.keys() == set(names) else None


async def counts_soon(session: Session | None) -> Counts | None:
    """Ask a runner as `counts` does; None, too, where it does not answer within two seconds."""
    with contextlib.suppress(ConnectionError, TimeoutError):
        async with asyncio.timeout(_SECONDS):
            return await counts(session)
    return None
