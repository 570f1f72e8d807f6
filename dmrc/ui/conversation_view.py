"""What the page of one conversation shows. Pure."""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from typing import Literal

from dmrc.capture.summary import outcome
from dmrc.conversations.turns import AppSpan, ConversationTurn, ToldConversation
from dmrc.ui.timeline import Segment, segments
from dmrc.ui.waterfall import Graph, Waterfall, graph, waterfall

_LEAST_PAUSE_MS = 1000.0


@dataclass(frozen=True, slots=True)
class TurnView:
    """One turn in the list."""

    turn: ConversationTurn
    """What was asked and answered."""
    state: Literal["done", "failed", "cancelled"]
    """How it ended."""
    parts: list[Segment]
    """Where its time went, as wide as its share of the longest one that is shown."""
    pause_ms: float | None
    """The silence before it; None where a model or a tool was at work."""
    apps: list[AppSpan]
    """The application's own time behind it."""


@dataclass(frozen=True, slots=True)
class ConversationView:
    """The whole page."""

    id: str
    """Of the conversation."""
    title: str
    """The first words that somebody said; "" where they are not on record."""
    received: str
    """When the first turn that is shown came in."""
    total: int
    """How many requests the conversation has."""
    turns: list[TurnView]
    """Those that are shown, the oldest first."""
    duration_ms: float
    """From the first of these to the last end."""
    failed: int
    """How many of these failed."""
    prompt_tokens: int
    """Tokens in, of these."""
    completion_tokens: int
    """Tokens out, likewise."""
    model_ms: float
    """What these took together."""
    app_ms: float
    """The application's own time between them."""
    tools: int
    """How many tools they called."""
    waterfall: Waterfall
    """These as bars."""
    graph: Graph
    """Who asked which model."""

    @classmethod
    def of(cls, id: str, told: ToldConversation, total: int, question: str) -> ConversationView:
        """Make it of the turns that are shown; `total` is how many there are, and `question` what was asked first."""
        exchanges = [turn.exchange for turn in told.turns]
        return cls(
            id=id,
            title=question or _title(told),
            received=time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(told.started_at)),
            total=total,
            turns=_turns(told),
            duration_ms=told.duration_ms,
            failed=sum(outcome(one) == "failed" for one in exchanges),
            prompt_tokens=sum(one.prompt_tokens or 0 for one in exchanges),
            completion_tokens=sum(one.completion_tokens or 0 for one in exchanges),
            model_ms=sum(one.total_ms or 0.0 for one in exchanges),
            app_ms=sum(one.end_ms - one.start_ms for one in told.spans),
            tools=sum(len(turn.calls) for turn in told.turns),
            waterfall=waterfall(told),
            graph=graph(told.turns),
        )


def _title(told: ToldConversation) -> str:
    said = (one.text for turn in told.turns for one in turn.said if one.role not in ("system", "developer", "tool"))
    return next((text for text in said if text.strip()), "")


def _scaled(parts: list[Segment], share: float) -> list[Segment]:
    return [replace(one, left=round(one.left * share, 2), width=round(one.width * share, 2)) for one in parts]


def _turns(told: ToldConversation) -> list[TurnView]:
    views: list[TurnView] = []
    busy_until = 0.0
    has_results = {span.before for span in told.spans}
    longest = max(turn.end_ms - turn.start_ms for turn in told.turns)
    for turn in told.turns:
        pause = turn.start_ms - busy_until
        is_silent = pause >= _LEAST_PAUSE_MS and turn.number not in has_results
        views.append(
            TurnView(
                turn=turn,
                state=outcome(turn.exchange),
                parts=_scaled(segments(turn.exchange), (turn.end_ms - turn.start_ms) / longest if longest else 1.0),
                pause_ms=pause if is_silent else None,
                apps=[one for one in told.spans if one.after == turn.number],
            )
        )
        busy_until = max(busy_until, turn.end_ms)
    return views
