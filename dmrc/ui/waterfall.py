"""A conversation as a drawing: lanes with bars on a time axis, and a graph of who asked which model. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from dmrc.capture.summary import outcome
from dmrc.conversations.axis import AxisMark, TimeAxis
from dmrc.conversations.graph import Edge, edges
from dmrc.conversations.lanes import Lane, lanes
from dmrc.conversations.turns import AppSpan, ConversationTurn, ToldConversation
from dmrc.figures import span_text
from dmrc.ui.timeline import Segment, segments

ZOOMS = (1, 2, 4, 8)
"""How much wider than its place the drawing can be made."""

_TICKS = 6
_ROW = 22
_PADDING = 10
_LEAST_LANE = 40
_AXIS = 22
_GAP_LABELS = 16
_NODE_GAP = 46
_GRAPH_WIDTH = 760


@dataclass(frozen=True, slots=True)
class Bar:
    """One request."""

    turn: ConversationTurn
    """Whose."""
    state: str
    """`done`, `failed` or `cancelled`."""
    parts: list[Segment]
    """Where its time went."""
    left: float
    """Per cent of the axis."""
    width: float
    """Likewise."""
    top: int
    """Pixels."""
    label: str
    """What it says to who points at it."""


@dataclass(frozen=True, slots=True)
class AppBar:
    """The application's own time."""

    label: str
    """`app: weather`."""
    title: str
    """With its length: `app: weather, 300 ms`."""
    left: float
    """Per cent of the axis."""
    width: float
    """Likewise."""
    top: int
    """Pixels."""


@dataclass(frozen=True, slots=True)
class DrawnLane:
    """The requests of one service to one model."""

    service: str
    """Who asked."""
    model: str
    """Who was asked."""
    top: int
    """Pixels."""
    height: int
    """Pixels."""
    bars: list[Bar]
    """Its requests."""
    apps: list[AppBar]
    """The time between them."""


@dataclass(frozen=True, slots=True)
class Waterfall:
    """The whole drawing."""

    lanes: list[DrawnLane]
    """From top to bottom."""
    height: int
    """Pixels."""
    ticks: dict[int, list[AxisMark]]
    """The marks of the time axis for each zoom."""
    gaps: tuple[AxisMark, ...]
    """Silence that is not drawn to scale."""


def waterfall(told: ToldConversation) -> Waterfall:
    """Return the drawing of a conversation."""
    busy = [(turn.start_ms, turn.end_ms) for turn in told.turns] + [(one.start_ms, one.end_ms) for one in told.spans]
    axis = TimeAxis.of(busy)
    drawn, top = [], _AXIS
    for lane in lanes(told.turns, told.spans):
        drawn.append(_lane(lane, axis, top))
        top += drawn[-1].height
    return Waterfall(
        drawn, top + (_GAP_LABELS if axis.gaps else 0), {zoom: axis.ticks(_TICKS * zoom) for zoom in ZOOMS}, axis.gaps
    )


def _lane(lane: Lane, axis: TimeAxis, top: int) -> DrawnLane:
    height = max(len(lane.rows) * _ROW + _PADDING, _LEAST_LANE)
    first = top + (height - len(lane.rows) * _ROW) // 2
    tops = {turn.number: first + number * _ROW for number, row in enumerate(lane.rows) for turn in row}
    bars = [_bar(turn, axis, tops[turn.number]) for row in lane.rows for turn in row]
    apps = [_app(span, axis, tops[span.after]) for span in lane.spans]
    return DrawnLane(lane.service, lane.model, top, height, bars, apps)


def _bar(turn: ConversationTurn, axis: TimeAxis, top: int) -> Bar:
    left, right = axis.at(turn.start_ms), axis.at(turn.end_ms)
    parts = segments(turn.exchange)
    told = ", ".join(f"{one.name} {span_text(one.milliseconds)}" for one in parts)
    label = f"{turn.number}. {turn.service} → {turn.model}: {told or 'no time on record'}"
    return Bar(turn, outcome(turn.exchange), parts, round(left, 3), round(right - left, 3), top, label)


def _app(span: AppSpan, axis: TimeAxis, top: int) -> AppBar:
    left, right = axis.at(span.start_ms), axis.at(span.end_ms)
    label = f"app: {', '.join(span.names)}"
    took = span_text(span.end_ms - span.start_ms)
    return AppBar(label, f"{label}, {took}", round(left, 3), round(right - left, 3), top)


@dataclass(frozen=True, slots=True)
class Node:
    """A service or a model."""

    name: str
    """Which one."""
    y: int
    """Its middle."""


@dataclass(frozen=True, slots=True)
class DrawnEdge:
    """What one service asked of one model."""

    edge: Edge
    """The numbers."""
    y: int
    """The middle of its label."""
    service_y: int
    """Where it begins."""
    model_y: int
    """Where it ends."""


@dataclass(frozen=True, slots=True)
class Graph:
    """Services at the left, models at the right, and what is between them in the middle, so that nothing overlaps."""

    services: list[Node]
    """From top to bottom."""
    models: list[Node]
    """Likewise."""
    edges: list[DrawnEdge]
    """Likewise."""
    width: int
    """Of the drawing."""
    height: int
    """Of the drawing."""


def graph(turns: Sequence[ConversationTurn]) -> Graph:
    """Return the graph of a conversation."""
    found = edges(turns)
    services, models = dict.fromkeys(one.service for one in found), dict.fromkeys(one.model for one in found)
    height = max(len(services), len(models), len(found)) * _NODE_GAP
    at_service = dict(zip(services, _spread(len(services), height), strict=True))
    at_model = dict(zip(models, _spread(len(models), height), strict=True))
    return Graph(
        services=[Node(name, y) for name, y in at_service.items()],
        models=[Node(name, y) for name, y in at_model.items()],
        edges=[
            DrawnEdge(edge, y, at_service[edge.service], at_model[edge.model])
            for edge, y in zip(found, _spread(len(found), height), strict=True)
        ],
        width=_GRAPH_WIDTH,
        height=height,
    )


def _spread(count: int, height: int) -> list[int]:
    """Return the middles of so many rows in this height."""
    return [int(height * (number + 0.5) / count) for number in range(count)]
