"""What llama.cpp's server counts itself: how much of its prompts it had to compute, and on how many it works.

Source: https://github.com/ggml-org/llama.cpp/blob/master/tools/server/server-task.cpp (`server_task_result_metrics`)
"""

from __future__ import annotations

import re
from contextlib import closing
from typing import TYPE_CHECKING

from dmrc.engines.engine import Counts

if TYPE_CHECKING:
    from dmrc.engines.session import Session

METRICS_PATH = "/metrics"
"""Where it tells them, in Prometheus' words."""

_NAMES = (b"prompt_tokens_total", b"prompt_tokens_cached_total", b"requests_processing")
_SECONDS = b"prompt_seconds_total"
_COUNT = re.compile(rb"^llamacpp:(%b) ([0-9.e+-]+)$" % b"|".join((*_NAMES, _SECONDS)), re.MULTILINE)


async def counts(session: Session) -> Counts | None:
    """Ask a runner; None where it does not say.

    It answers between two batches, so in the middle of a long prompt it takes as long as a batch.

    Raises:
        ConnectionError: It has gone.
    """
    with closing(await session.get(METRICS_PATH)) as answer:
        told = dict(_COUNT.findall(b"".join([chunk async for chunk in answer])))
    if not told.keys() >= set(_NAMES):
        return None
    computed, reused, processing = (int(float(told[name])) for name in _NAMES)
    return Counts(computed, reused, processing, float(told.get(_SECONDS, 0)))
