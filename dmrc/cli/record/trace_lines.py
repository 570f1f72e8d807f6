"""A conversation in lines: a waterfall as wide as the terminal, and what was new in each request."""

from __future__ import annotations

from collections.abc import Iterator

from dmrc.capture.summary import outcome, plain, short_id
from dmrc.cli.record.requests.lines import Screen, fitted
from dmrc.conversations.axis import WIDTH, TimeAxis
from dmrc.conversations.turns import AppSpan, ConversationTurn, ToldConversation, ToolUse
from dmrc.figures import count_text, span_text
from dmrc.ui.timeline import segments

_COLOURS = {"done": "green", "failed": "red", "cancelled": "yellow"}
_MARKS = {"queue": "░", "load": "▒", "prefill": "▓", "decode": "█", "unknown": "▒"}
_PART_COLOURS = {"queue": "magenta", "load": "yellow", "prefill": "blue", "decode": "green", "unknown": "white"}
_APP = "╌"
_OFFSET, _TOOK, _TOKENS = 11, 9, 11
_WHO, _LEAST_WHO = 30, 8
_BESIDE = _TOOK + 4 + 8 + 3 * 2
"""Cells of a line without when, who, tokens and bar: how long, status, id, and two between each."""
_LEAST_WITH_OFFSET = 50
_LEAST_BAR, _MOST_BAR = 12, 80
_LONGEST = 400


def trace_lines(id: str, told: ToldConversation, question: str, screen: Screen) -> Iterator[str]:
    """Yield a head, then for each request a line with its bar, and below what was said and which tools ran."""
    yield f"{screen.style(short_id(id), fg='cyan')}  {screen.style(_cut(question, screen, 10), bold=True)}".rstrip()
    yield screen.style(_cut(_sums(told), screen, 0), dim=True)
    busy = [(turn.start_ms, turn.end_ms) for turn in told.turns] + [(one.start_ms, one.end_ms) for one in told.spans]
    printed = _Printed(told, TimeAxis.of(busy), screen)
    busy_until = 0.0
    indent = printed.indent
    for turn in told.turns:
        if any(piece.start_ms == turn.start_ms for piece in printed.axis.pieces[1:]):
            yield screen.style(f"{span_text(turn.start_ms - busy_until):>{max(indent - 2, 0)}}  later", dim=True)
        busy_until = max(busy_until, turn.end_ms)
        yield printed.request(turn)
        yield from printed.texts(turn)
        yield from (printed.app(span) for span in told.spans if span.after == turn.number)


def _sums(told: ToldConversation) -> str:
    exchanges = [turn.exchange for turn in told.turns]
    failed = sum(outcome(one) == "failed" for one in exchanges)
    count = len(exchanges)
    parts = [
        f"{count} request{'' if count == 1 else 's'}",
        f"{failed} failed" if failed else "",
        f"{count_text(sum(one.prompt_tokens or 0 for one in exchanges))} tokens in",
        f"{count_text(sum(one.completion_tokens or 0 for one in exchanges))} out",
        span_text(told.duration_ms),
    ]
    return " · ".join(filter(None, parts))


class _Printed:
    """What the lines of one conversation share: the axis, and how wide everything is."""

    def __init__(self, told: ToldConversation, axis: TimeAxis, screen: Screen) -> None:
        self.axis = axis
        self._screen = screen
        names = [*(_who(turn) for turn in told.turns), *(_app(span) for span in told.spans)]
        has_offset = screen.width is None or screen.width >= _LEAST_WITH_OFFSET
        self.indent = _OFFSET + 2 if has_offset else 0
        room = _MOST_BAR if screen.width is None else screen.width - _BESIDE - self.indent
        self._who = max(min(max(map(len, names)), _WHO, room), _LEAST_WHO)
        left, tokens, edges = room - self._who, _TOKENS + 2, 4
        has_bar = screen.width is not None and left >= _LEAST_BAR + edges
        self._has_tokens = left >= tokens + (_LEAST_BAR + edges if has_bar else 0)
        self._bar = min(left - edges - self._has_tokens * tokens, _MOST_BAR) if has_bar else 0

    def request(self, turn: ConversationTurn) -> str:
        """Return the line of a request."""
        exchange, style = turn.exchange, self._screen.style
        code = f"{exchange.status or ''}" + {"cancelled": "×"}.get(outcome(exchange), "")
        tokens = f"{count_text(exchange.prompt_tokens)}→{count_text(exchange.completion_tokens)}".strip("→")
        parts = [
            style(offset, dim=True) if (offset := self._offset(turn.start_ms)) else "",
            style(fitted(_who(turn), self._who).ljust(self._who), bold=True),
            self._bars(turn) if self._bar else "",
            f"{span_text(exchange.total_ms):>{_TOOK}}",
            f"{tokens:>{_TOKENS}}" if self._has_tokens else "",
            style(f"{code:<4}", fg=_COLOURS[outcome(exchange)]),
            style(short_id(exchange.id), fg="cyan"),
        ]
        return "  ".join(filter(None, parts)).rstrip()

    def texts(self, turn: ConversationTurn) -> Iterator[str]:
        """Yield what is new in a request, its answer, its tools, and its error."""
        for message in (*turn.said, *turn.answers):
            if message.text.strip():
                yield self._line(message.role, message.text, dim=message.role in ("system", "developer"))
        for call in turn.calls:
            yield self._call(call)
        if turn.exchange.error_message:
            yield self._line("error", turn.exchange.error_message, fg="red")

    def app(self, span: AppSpan) -> str:
        """Return the line of the application's own time."""
        who = fitted(_app(span), self._who).ljust(self._who)
        bar = self._cells([(span.start_ms, span.end_ms, _APP, "white")]) if self._bar else ""
        took = f"{span_text(span.end_ms - span.start_ms):>{_TOOK}}"
        return self._screen.style("  ".join(filter(None, (self._offset(span.start_ms), who, bar, took))), dim=True)

    def _call(self, call: ToolUse) -> str:
        room = None if self._screen.width is None else max(self._screen.width - self.indent - 11, 20)
        asked = f"{plain(call.name, 60)} {plain(call.arguments, _LONGEST)}"
        brought = "" if call.result is None else f" → {plain(call.result, _LONGEST)}"
        if room is not None and len(asked) + len(brought) > room:
            asked = fitted(asked, max(room // 2, room - len(brought)))
        return self._line("calls", f"{asked}{brought}", fg="yellow")

    def _line(self, role: str, text: str, **styles: object) -> str:
        name = fitted(plain(role, 20), 9).ljust(9)
        shown = _cut(text, self._screen, self.indent + 11)
        return f"{' ' * self.indent}{self._screen.style(name, dim=True)}  {self._screen.style(shown, **styles)}"

    def _offset(self, milliseconds: float) -> str:
        return f"{f'+{span_text(milliseconds)}':>{_OFFSET}}" if self.indent else ""

    def _bars(self, turn: ConversationTurn) -> str:
        at, spans = turn.start_ms, []
        for part in segments(turn.exchange):
            spans.append((at, at + part.milliseconds, _MARKS[part.kind], _PART_COLOURS[part.kind]))
            at += part.milliseconds
        return self._cells(spans or [(at, at, "│", "white")])

    def _cells(self, spans: list[tuple[float, float, str, str]]) -> str:
        """Return a line of cells with these spans of time in it, each at least one cell wide."""
        cells: list[tuple[str, str | None]] = [(" ", None)] * self._bar
        for start, end, mark, colour in spans:
            first = min(int(self.axis.at(start) / WIDTH * self._bar), self._bar - 1)
            last = max(first + 1, round(self.axis.at(end) / WIDTH * self._bar))
            cells[first:last] = [(mark, colour)] * (min(last, self._bar) - first)
        drawn, at = "", 0
        while at < len(cells):
            run = next((to for to in range(at, len(cells)) if cells[to] != cells[at]), len(cells))
            sign, shade = cells[at]
            text = sign * (run - at)
            drawn += text if shade is None else self._screen.style(text, fg=shade)
            at = run
        return f"▏{drawn}▕"


def _who(turn: ConversationTurn) -> str:
    return f"{plain(turn.service, _WHO)} → {plain(turn.model, _WHO)}"


def _app(span: AppSpan) -> str:
    return f"app: {plain(', '.join(span.names), _WHO)}"


def _cut(text: str, screen: Screen, used: int) -> str:
    shown = plain(text, _LONGEST)
    return shown if screen.width is None else fitted(shown, max(screen.width - used, 10))
