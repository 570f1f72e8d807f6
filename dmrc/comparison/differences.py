"""What is different in an answer, the worst first."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, get_args

from dmrc.comparison.answers import Said, arguments_of
from dmrc.comparison.similarity import likeness
from dmrc.comparison.wanted_form import WantedForm
from dmrc.exchange import JsonValue

DifferenceKind = Literal["error", "schema", "tools", "cut", "refusal", "longer", "slower", "text"]
"""What a difference is about."""

DIFFERENCES: tuple[DifferenceKind, ...] = get_args(DifferenceKind)
"""All of them, the worst first; the last one alone is no regression: most models say it in other words."""

_LONGER = 1.3
_MORE_TOKENS = 16
_LONGEST = 160


@dataclass(frozen=True, slots=True)
class AnswerDifference:
    """What is not as it was, in one respect."""

    kind: DifferenceKind
    """What it is about."""
    words: str
    """What was seen, in a line."""


def differences(then: Said, now: Said, form: WantedForm | None) -> list[AnswerDifference]:
    """Return what is different in an answer, the worst first; times are compared by `speed.slower`."""
    if now.error is not None:
        return [AnswerDifference("error", _short(now.error))]
    found = [_schema(then, now, form), _tools(then, now)]
    if now.is_cut and not then.is_cut:
        found.append(AnswerDifference("cut", f"cut off after {_tokens(now)}; it was complete before"))
    if now.is_refusal and not then.is_refusal:
        found.append(AnswerDifference("refusal", _short(now.text)))
    found += [_longer(then, now), _text(then, now, form)]
    return [one for one in found if one is not None]


def _schema(then: Said, now: Said, form: WantedForm | None) -> AnswerDifference | None:
    if form is None or now.calls or then.calls or any(map(form.fault, then.texts)):
        return None
    fault = next(filter(None, map(form.fault, now.texts or ("",))), None)
    return None if fault is None else AnswerDifference("schema", _short(fault))


def _tools(then: Said, now: Said) -> AnswerDifference | None:
    before, after = _calls(then), _calls(now)
    if sorted(map(repr, before)) == sorted(map(repr, after)):
        return None
    names, others = [name for name, _ in before], [name for name, _ in after]
    if sorted(names) != sorted(others):
        return AnswerDifference("tools", f"calls {_listed(others)} instead of {_listed(names)}")
    different = next((pair for pair in zip(before, after, strict=True) if not _is_same(*pair)), None)
    if different is None:
        return None
    (name, arguments), (_, others_arguments) = different
    return AnswerDifference("tools", _short(f"{name}: {_changed(arguments, others_arguments)}"))


def _is_same(one: object, other: object) -> bool:
    """Return whether two values are the same as JSON: to Python, true is 1."""
    return repr(one) == repr(other)


def _calls(said: Said) -> list[tuple[str, JsonValue]]:
    """Return the calls, those of several in an order of their own: a model may make them in any."""
    return sorted(((call.name, arguments_of(call)) for call in said.calls), key=repr)


def _changed(before: JsonValue, after: JsonValue) -> str:
    """Return how arguments differ: the first name that does."""
    if isinstance(after, str):
        return f"its arguments are no JSON: {after}"
    if not (isinstance(before, dict) and isinstance(after, dict)):
        return f"{json.dumps(after)} instead of {json.dumps(before)}"
    for name in (*before, *(name for name in after if name not in before)):
        if name not in after:
            return f"without '{name}', which was {json.dumps(before[name])}"
        if name not in before:
            return f"with '{name}' {json.dumps(after[name])}"
        if not _is_same(before[name], after[name]):
            return f"'{name}' is {json.dumps(after[name])} instead of {json.dumps(before[name])}"
    return "other arguments"


def _longer(then: Said, now: Said) -> AnswerDifference | None:
    if not then.tokens or not now.tokens:
        return None
    if now.tokens < then.tokens * _LONGER or now.tokens - then.tokens < _MORE_TOKENS:
        return None
    return AnswerDifference("longer", f"{now.tokens} tokens instead of {then.tokens}")


def _text(then: Said, now: Said, form: WantedForm | None) -> AnswerDifference | None:
    if then.text == now.text or (form is not None and _as_json(then.texts) == _as_json(now.texts)):
        return None
    return AnswerDifference("text", f"{round(likeness(then.text, now.text) * 100)} % the same words")


def _as_json(texts: Sequence[str]) -> list[str]:
    """Return texts with JSON written one way; what is none stays as it is."""
    found = []
    for text in texts:
        try:
            found.append(json.dumps(json.loads(text), sort_keys=True))
        except (ValueError, RecursionError):
            found.append(text)
    return found


def _tokens(said: Said) -> str:
    return "an unknown number of tokens" if said.tokens is None else f"{said.tokens} tokens"


def _listed(names: Sequence[str]) -> str:
    return ", ".join(map(repr, names)) or "nothing"


def _short(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= _LONGEST else f"{line[: _LONGEST - 1]}…"
