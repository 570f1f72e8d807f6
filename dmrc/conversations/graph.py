"""Who asked which model in a conversation, as a small graph. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from dmrc.capture.summary import outcome
from dmrc.conversations.turns import ConversationTurn


@dataclass(frozen=True, slots=True)
class Edge:
    """What one service asked of one model."""

    service: str
    """Who asked."""
    model: str
    """Who was asked."""
    calls: int = 0
    """How many requests."""
    failed: int = 0
    """How many of them failed."""
    prompt_tokens: int = 0
    """Tokens in."""
    completion_tokens: int = 0
    """Tokens out."""
    busy_ms: float = 0.0
    """What they took together."""


def edges(turns: Sequence[ConversationTurn]) -> list[Edge]:
    """Return an edge for each service and each model that it asked, in the order of their first requests."""
    found: dict[tuple[str, str], Edge] = {}
    for turn in turns:
        key, exchange = (turn.service, turn.model), turn.exchange
        edge = found.get(key, Edge(*key))
        found[key] = replace(
            edge,
            calls=edge.calls + 1,
            failed=edge.failed + (outcome(exchange) == "failed"),
            prompt_tokens=edge.prompt_tokens + (exchange.prompt_tokens or 0),
            completion_tokens=edge.completion_tokens + (exchange.completion_tokens or 0),
            busy_ms=edge.busy_ms + (exchange.total_ms or 0.0),
        )
    services = list(dict.fromkeys(turn.service for turn in turns))
    return sorted(found.values(), key=lambda edge: services.index(edge.service))
