"""The rows of `dmrc top`, as texts: which columns there are at a width, and what stands in them. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from dmrc.capture.live import Started
from dmrc.capture.summary import cells, outcome, plain, running_cells
from dmrc.cli.record.top.watching import Glance
from dmrc.errors import DmrcError
from dmrc.exchange import Exchange
from dmrc.fields import JsonObject
from dmrc.figures import count_text, span_text
from dmrc.gguf import format_size
from dmrc.reference import Reference

_BAR = 8
_LONGEST = 200
_STYLES = {"done": "green", "failed": "red", "cancelled": "yellow"}
_STATES = {"ready": "green", "failed": "red"}


@dataclass(frozen=True, slots=True)
class TopColumn:
    """One column of a table."""

    title: str
    """Its header."""
    width: int | None
    """Cells; None takes what the others leave."""
    needs: int = 0
    """How many cells a terminal must have for it to be shown."""
    is_number: bool = False
    """Whether it is aligned at the right."""


@dataclass(frozen=True, slots=True)
class TopRow:
    """One line of a table."""

    key: str
    """What it is about: the id of a request, or of a runner."""
    texts: Sequence[str]
    """A text for each column, those that are not shown at this width among them."""
    styles: Mapping[str, str]
    """Styles of rich, by the titles of columns."""


RUNNING = (
    TopColumn("ID", 8, 90),
    TopColumn("SERVICE", 18),
    TopColumn("MODEL", 18, 76),
    TopColumn("ELAPSED", 11, is_number=True),
    TopColumn("TOKENS", 7, is_number=True),
    TopColumn("PROMPT", None, 60),
)
"""Requests that run."""

MODELS = (
    TopColumn("MODEL", 18),
    TopColumn("STATE", 8),
    TopColumn("MEMORY", _BAR + 11),
    TopColumn("SLOTS", 6, 68, is_number=True),
    TopColumn("QUEUE", 5, is_number=True),
    TopColumn("PROCESSOR", 12, 110),
    TopColumn("UNLOADS IN", None, 78),
)
"""Models that are loaded."""

RECENT = (
    TopColumn("TIME", 8, 66),
    TopColumn("ID", 8, 116),
    TopColumn("SERVICE", 14),
    TopColumn("MODEL", 14, 74),
    TopColumn("STATUS", 6),
    TopColumn("TOKENS", 11, 100, is_number=True),
    TopColumn("TOOK", 10, is_number=True),
    TopColumn("PROMPT", None, 60),
)
"""The last requests."""


def running_rows(glance: Glance) -> list[TopRow]:
    """Return the requests that run, the oldest first."""
    found = []
    for one in glance.running:
        began = Started.from_json(one)
        row = running_cells(began, "")
        elapsed = span_text(round(max(0.0, glance.at - began.received_at)) * 1000)
        pieces = one.get("pieces")
        tokens = count_text(pieces) if isinstance(pieces, int) and pieces and began.stream else ""
        prompt = plain(str(one.get("prompt") or ""), _LONGEST)
        found.append(TopRow(began.id, (row.id, row.who, row.model, elapsed, tokens, prompt), {"ID": "cyan"}))
    return found


def model_rows(glance: Glance) -> list[TopRow]:
    """Return the models that are loaded, or load."""
    most = max((_memory(one) for one in glance.runners), default=0)
    return [_model_row(one, most, glance.at) for one in glance.runners]


def recent_rows(glance: Glance) -> list[TopRow]:
    """Return the last requests, the newest first."""
    return [_recent_row(one, glance.excerpts.get(one.id, "")) for one in glance.recent]


def matches(row: TopRow, words: str) -> bool:
    """Return whether a row has all these words in it, in any case."""
    text = " ".join((row.key, *row.texts)).lower()
    return all(word in text for word in words.lower().split())


def status_line(glance: Glance, width: int) -> str:
    """Return the line above: what runs and waits, and what memory is free; as much of it as there is room for."""
    waiting = sum(int(str(one.get("waiting") or 0)) for one in glance.runners)
    failed = sum(outcome(one) == "failed" for one in glance.recent)
    parts = [f"{len(glance.running)} running", f"{waiting} waiting"]
    if failed:
        parts.append(f"{failed} of the last {len(glance.recent)} failed")
    if glance.ram_total_bytes:
        free, total = format_size(glance.ram_free_bytes), format_size(glance.ram_total_bytes)
        parts.append(f"memory {free} free of {total}")
    for card in glance.cards:
        free, total = (format_size(float(str(card[name]))) for name in ("free_bytes", "total_bytes"))
        parts.append(f"{plain(str(card['name']), 20)} {free} free of {total}")
    line = ""
    for part in parts:
        longer = f"{line} · {part}" if line else part
        if len(longer) > width:
            break
        line = longer
    return line


def widths(columns: Sequence[TopColumn], width: int) -> list[int | None]:
    """Return how wide each column is on a terminal of this width; None is not shown."""
    shown = [column.width if width >= column.needs else None for column in columns]
    fixed = sum((size or 0) + 2 for size in shown if size is not None)
    rest = max(8, width - fixed - 3)
    open_ = [column.width is None and width >= column.needs for column in columns]
    return [rest if is_open else size for is_open, size in zip(open_, shown, strict=True)]


def _model_row(one: JsonObject, most: int, now: float) -> TopRow:
    name, state = str(one["model"]), str(one["state"])
    if not one.get("upstream"):
        name = _name(name)
    memory = _memory(one)
    filled = round(_BAR * memory / most) if most else 0
    bar = f"{'█' * filled}{'░' * (_BAR - filled)} {format_size(memory)}" if memory else ""
    slots = f"{one['in_use']}/{one['parallel']}" if one.get("parallel") else str(one["in_use"] or "")
    texts = (
        plain(name, 60),
        state,
        bar,
        slots,
        str(one["waiting"] or ""),
        str(one.get("processor") or ""),
        _unloads(one, now),
    )
    return TopRow(str(one["id"]), texts, {"STATE": _STATES.get(state, "yellow"), "MEMORY": "blue"})


def _memory(one: JsonObject) -> int:
    held = one.get("memory_resident_bytes") or one.get("memory_estimated_bytes") or 0
    on_cards = one.get("memory_device_bytes") or 0
    return int(str(held)) + int(str(on_cards))


def _unloads(one: JsonObject, now: float) -> str:
    """Return how long an idle runner stays: `4 min 18 s`, `never`; nothing of one that loads or works."""
    if one["keep_alive_seconds"] == -1:
        return "never"
    expires = one.get("expires_at")
    left = round(float(str(expires)) - now) if expires is not None else 0
    return span_text(left * 1000) if left > 0 else ""


def _recent_row(exchange: Exchange, excerpt: str) -> TopRow:
    row = cells(exchange, excerpt)
    code, _, note = row.status.partition(" ")
    mark = {"cancelled": "×", "broken": "!"}.get(note, "")
    words = "  ".join(part for part in (note, row.fault, row.error, row.words) if part)
    texts = (row.time, row.id, row.who, row.model, code + mark, row.tokens, row.took, words)
    return TopRow(exchange.id, texts, {"ID": "cyan", "STATUS": _STYLES[outcome(exchange)]})


def _name(reference: str) -> str:
    try:
        return Reference.parse(reference).display()
    except DmrcError:
        return reference
