"""What vLLM counts itself: how much of its prompts it had to compute, and on how many requests it works.

Source: https://github.com/vllm-project/vllm/blob/main/vllm/v1/metrics/loggers.py
"""

from __future__ import annotations

import re
from collections import Counter
from contextlib import closing
from typing import TYPE_CHECKING

from dmrc.engines.engine import Counts

if TYPE_CHECKING:
    from dmrc.engines.session import Session

METRICS_PATH = "/metrics"
"""Where it tells them, in Prometheus' words."""

_ALL, _REUSED, _RUNNING = b"prompt_tokens_total", b"prefix_cache_hits_total", b"num_requests_running"
# One line for each of its engines, which the labels name; a model's name may hold any character.
_COUNT = re.compile(rb"^vllm:(" + b"|".join((_ALL, _REUSED, _RUNNING)) + rb")(?:\{.*\})? ([0-9.e+]+)$", re.MULTILINE)


async def counts(session: Session) -> Counts | None:
    """Ask a runner; None where it does not say.

    Raises:
        ConnectionError: It has gone.
    """
    with closing(await session.get(METRICS_PATH)) as answer:
        return told(b"".join([chunk async for chunk in answer]))


def told(metrics: bytes) -> Counts | None:
    """Return what a page of metrics says; None where something is missing.

    Its prompt tokens are all tokens of prompts, those that it had already among them.
    """
    sums: Counter[bytes] = Counter()
    for name, number in _COUNT.findall(metrics):
        sums[name] += int(float(number))
    if sums.keys() != {_ALL, _REUSED, _RUNNING}:
        return None
    return Counts(computed=max(0, sums[_ALL] - sums[_REUSED]), reused=sums[_REUSED], processing=sums[_RUNNING])
