"""A comparison as one HTML file, in which every value is escaped and nothing is fetched."""

from __future__ import annotations

from collections.abc import Sequence

from dmrc import __version__
from dmrc.capture.conversation import asked
from dmrc.capture.summary import model_name
from dmrc.comparison.comparison import Compared, Comparison, title
from dmrc.comparison.word_diff import TextPart, side_by_side

_LONGEST_SHOWN = 20_000
# What a terminal or a browser would act on has a picture in Unicode from U+2400 on.
_CONTROLS = {code: 0x2400 + code for code in range(32) if chr(code) not in "\n\t"}
_CONTROLS |= {0x7F: 0x2421, **dict.fromkeys(range(0x80, 0xA0), 0xFFFD), **dict.fromkeys(range(0xD800, 0xE000), 0xFFFD)}


def page(report: Comparison, what: str, failures: Sequence[str] = ()) -> str:
    """Return the file; `what` says in a line what was asked of what, `failures` by which thresholds it fails."""
    import jinja2  # not needed until somebody wants the file

    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("dmrc.comparison"), autoescape=True, undefined=jinja2.StrictUndefined
    )
    rows = [_shown(row) for row in report.rows]
    return environment.get_template("comparison.html").render(
        what=what,
        failures=failures,
        summary=report.summary(),
        different=[row for row in rows if row["differences"]],
        same=[row for row in rows if not row["differences"]],
        version=__version__,
    )


def _shown(row: Compared) -> dict[str, object]:
    id, who, model = title(row)
    then, now = side_by_side(_visible(row.then.text), _visible(row.now.text))
    messages = asked(row.sent.then)
    return {
        "id": id,
        "who": who,
        "model": model,
        "path": row.sent.then.path,
        "is_regression": row.is_regression,
        "differences": row.differences,
        "asked": _visible(messages[-1].text) if messages else "",
        "role": messages[-1].role if messages else "",
        "messages": len(messages),
        "sides": [_side("then", row, then), _side("now", row, now)],
    }


def _side(name: str, row: Compared, pieces: Sequence[TextPart]) -> dict[str, object]:
    said, exchange = (row.then, row.sent.then) if name == "then" else (row.now, row.again)
    numbers = [
        "" if said.tokens is None else f"{said.tokens} tokens",
        "" if said.answer_ms is None else f"{said.answer_ms:.0f} ms",
        "" if said.tokens_per_second is None else f"{said.tokens_per_second:.0f} tok/s",
        said.finish_reason or "",
    ]
    return {
        "name": name,
        "model": model_name(exchange.model_reference),
        "pieces": pieces,
        "calls": [(call.name, _visible(call.arguments)) for call in said.calls],
        "error": said.error,
        "numbers": " · ".join(filter(None, numbers)),
    }


def _visible(text: str) -> str:
    """Return a text as a page shows it: no longer than a browser lays out at once, control characters as pictures."""
    shown = text.translate(_CONTROLS)
    return shown if len(shown) <= _LONGEST_SHOWN else f"{shown[:_LONGEST_SHOWN]}…"
