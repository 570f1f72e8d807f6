"""Limits for each service of a compose project: requests and tokens per minute, refused with 429 and `Retry-After`."""

from __future__ import annotations

import math
import threading
import time
from collections import deque

from dmrc import Exchange, Project, Refusal, hookimpl

__version__ = "0.1.0"

FIELD = "x-dmrc-limits"
"""Field of a service in the compose file: `{requests_per_minute: 60, tokens_per_minute: 20000}`, either or both."""

_WINDOW_SECONDS = 60.0


class Window:
    """What was used in the last minute. Safe for threads."""

    def __init__(self) -> None:
        """Begin with nothing used."""
        self._lock = threading.Lock()
        self._uses: deque[tuple[float, int]] = deque()
        self._total = 0

    def use(self, amount: int) -> None:
        """Count an amount that was used now."""
        with self._lock:
            self._uses.append((time.monotonic(), amount))
            self._total += amount

    def take(self, amount: int, limit: int) -> float:
        """Use an amount where less than `limit` is used, and return 0; else return the seconds until less is."""
        with self._lock:
            now = time.monotonic()
            while self._uses and self._uses[0][0] <= now - _WINDOW_SECONDS:
                self._total -= self._uses.popleft()[1]
            if self._total < limit:
                if amount:
                    self._uses.append((now, amount))
                    self._total += amount
                return 0.0
            left = self._total
            for used_at, used in self._uses:
                left -= used
                if left < limit:
                    return used_at + _WINDOW_SECONDS - now
            return _WINDOW_SECONDS


_windows: dict[tuple[str, str, str], Window] = {}
_lock = threading.Lock()


@hookimpl
async def dmrc_request(exchange: Exchange, project: Project | None) -> Refusal | None:
    """Refuse what is beyond a limit. It only counts and needs no thread, hence `async`."""
    service = exchange.service
    limits = project.services[service].extensions.get(FIELD) if project and service else None
    if limits is None or project is None or service is None:
        return None
    requests, tokens = _numbers(limits)
    # Tokens are known only at the end, so a request is let in as long as some are left.
    for name, amount, limit in (("tokens", 0, tokens), ("requests", 1, requests)):
        if limit is not None and (wait := _window(project.name, service, name).take(amount, limit)):
            seconds = max(1, math.ceil(wait))
            return Refusal(
                message=f"service '{service}' has used its {limit} {name} per minute; try again in {seconds} s",
                status=429,
                error_type="rate_limit_error",
                retry_after_seconds=seconds,
            )
    return None


@hookimpl
def dmrc_exchange_completed(exchange: Exchange) -> None:
    """Count the tokens that a request has cost, in and out; those from the engine's cache cost nothing."""
    if exchange.project and exchange.service:
        tokens = (exchange.prompt_tokens or 0) - (exchange.cached_tokens or 0) + (exchange.completion_tokens or 0)
        _window(exchange.project, exchange.service, "tokens").use(tokens)


def _window(project: str, service: str, name: str) -> Window:
    with _lock:
        return _windows.setdefault((project, service, name), Window())


def _numbers(limits: object) -> tuple[int | None, int | None]:
    """Return requests and tokens per minute; raises `ValueError` for anything else, which `dmrc plugins` shows."""
    known = ("requests_per_minute", "tokens_per_minute")
    if not isinstance(limits, dict) or not limits.keys() <= set(known):
        raise ValueError(f"{FIELD} is {limits!r}; it knows {' and '.join(known)}")
    requests, tokens = (limits.get(name) for name in known)
    for number in (requests, tokens):
        if number is not None and (not isinstance(number, int) or number < 0):
            raise ValueError(f"{FIELD} must hold numbers of requests or tokens, not {number!r}")
    return requests, tokens
