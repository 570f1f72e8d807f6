"""What differs between two requests, and between two cassettes, for people. Pure."""

from __future__ import annotations

import difflib
import json
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from dmrc.cassettes.words import answer_of, messages_of

if TYPE_CHECKING:
    from dmrc.capture.conversation import Message
    from dmrc.cassettes.cassette import Cassette
    from dmrc.cassettes.interaction import Asked, Interaction
    from dmrc.cassettes.matching import Matcher

_SAID = ("messages", "system", "instructions", "prompt", "input")
"""Fields of a request whose words are its messages, in one dialect or another."""


@dataclass(frozen=True, slots=True)
class Change:
    """One interaction that is in one of two cassettes, or in both with another answer."""

    kind: str
    """`added`, `gone` or `answer`."""
    service: str
    """Whose cassette."""
    old_line: int | None
    """Its line in the first; None for an added one."""
    new_line: int | None
    """Its line in the second; None for one that is gone."""
    lines: tuple[str, ...]
    """What differs, as a unified diff without a head; of one that is added or gone the request."""


def request_lines(asked: Asked, matcher: Matcher) -> list[str]:
    """Return what counts of a request as lines: its messages as text, then what else it says, field by field."""
    counted = replace(asked, body=matcher.canonical(asked))
    found = [line for message in messages_of(counted) for line in _lines(message)]
    rest = {name: value for name, value in counted.body.items() if name not in _SAID or not found}
    head = f"{asked.dialect} {asked.operation}, model {asked.model}"
    return [head, *found, *(line for name in sorted(rest) for line in _field(name, rest[name]))]


def answer_lines(interaction: Interaction) -> list[str]:
    """Return an answer as lines to compare: its status, and its messages as text; where it has none its bytes."""
    said = [line for message in answer_of(interaction) for line in _lines(message)]
    head = [] if interaction.answer.status < 400 else [f"status: {interaction.answer.status}"]
    return [*head, *(said or interaction.answer.body.decode("utf-8", "replace").splitlines())]


def unified(old: Sequence[str], new: Sequence[str]) -> list[str]:
    """Return how to make the new lines of the old ones, with three lines around each change; empty where they agree."""
    return list(difflib.unified_diff(old, new, lineterm=""))[2:]


def compare(old: Cassette | None, new: Cassette | None, matcher: Matcher) -> list[Change]:
    """Return what the second cassette has more, less, or answered otherwise than the first, in the order of lines.

    Equal requests are the same in their order, as a replay answers them.
    """
    service = next((one.service for one in (new, old) if one is not None), "")
    before, after = _by_key(old), _by_key(new)
    found = []
    for place, (line, one) in after.items():
        if place not in before:
            asked = tuple(f"+{text}" for text in request_lines(one.asked, matcher))
            found.append(Change("added", service, None, line, asked))
            continue
        old_line, former = before[place]
        if lines := unified(answer_lines(former), answer_lines(one)):
            found.append(Change("answer", service, old_line, line, tuple(lines)))
    gone = [(line, one) for place, (line, one) in before.items() if place not in after]
    found += [
        Change("gone", service, line, None, tuple(f"-{text}" for text in request_lines(one.asked, matcher)))
        for line, one in gone
    ]
    return sorted(found, key=lambda change: change.new_line or change.old_line or 0)


def _by_key(cassette: Cassette | None) -> dict[tuple[str, int], tuple[int, Interaction]]:
    found: dict[tuple[str, int], tuple[int, Interaction]] = {}
    seen: Counter[str] = Counter()
    for entry, one in cassette.interactions() if cassette is not None else ():
        found[entry.key, seen[entry.key]] = entry.number, one
        seen[entry.key] += 1
    return found


def _lines(message: Message) -> Iterator[str]:
    yield f"[{' '.join(filter(None, (message.role, message.call_id)))}]"
    yield from (f"thinks: {line}" for line in message.reasoning.splitlines())
    yield from message.text.splitlines()
    for call in message.calls:
        yield f"calls {call.name} {call.arguments}"


def _field(name: str, value: object) -> Iterator[str]:
    written = json.dumps(value, indent=2, ensure_ascii=False, sort_keys=True)
    first, *more = written.splitlines()
    yield f"{name}: {first}"
    yield from more
