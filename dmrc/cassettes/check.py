"""What is wrong with a cassette: before it is committed, and without a model, a daemon or Docker."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from dmrc.capture.documents import Documents
from dmrc.capture.redaction import Redactor
from dmrc.cassettes.cassette import SUFFIX
from dmrc.cassettes.errors import CassetteError
from dmrc.cassettes.forms import route_for
from dmrc.cassettes.interaction import Interaction
from dmrc.cassettes.lines import FIELDS, interaction_in, service_of
from dmrc.exchange import Exchange
from dmrc.fields import JsonValue
from dmrc.json_values import object_of

_SHOWN = 4
"""Characters of a secret that are told, so that it can be found, and is not in one more place."""


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that is wrong."""

    path: Path
    """The cassette."""
    line: int
    """Of the file, from 1 on."""
    what: str
    """What it is, and what to do."""

    def __str__(self) -> str:
        """Return it as compilers tell such things: `FILE:LINE: what`."""
        return f"{self.path}:{self.line}: {self.what}"


def problems(path: Path, secrets: Sequence[str] = ()) -> Iterator[Problem]:
    """Yield what is wrong with a cassette, line by line; `secrets` are values of the project that must not be in it.

    Raises:
        CassetteError: The file cannot be read at all.
    """
    redactor = Redactor(secrets)
    try:
        lines = path.read_bytes().split(b"\n")
    except OSError as error:
        raise CassetteError(f"cassette '{path}' cannot be read: {error.strerror}") from error
    for number, raw in enumerate(lines, 1):
        try:
            line = raw.rstrip(b"\r").decode()
        except UnicodeDecodeError as error:
            yield Problem(path, number, f"it is no UTF-8: {error.reason}")
            continue
        for what in _of_header(line, path) if number == 1 else _of_line(line, redactor):
            yield Problem(path, number, what)


def _of_header(line: str, path: Path) -> Iterator[str]:
    try:
        service = service_of(line)
    except CassetteError as error:
        yield str(error)
        return
    if service != (name := path.name.removesuffix(SUFFIX)):
        yield f"it says that it is of service '{service}', and is looked for by its name, as that of '{name}'"


def _of_line(line: str, redactor: Redactor) -> Iterator[str]:
    if not line.strip():
        return
    try:
        interaction = interaction_in(line)
        route_for(interaction.asked)
    except CassetteError as error:
        yield error.message
        return
    if not interaction.asked.model:
        yield "it names no model, so no request finds it"
    document = object_of(json.loads(line))
    for part, known in FIELDS.items():
        fields = document if not part else object_of(document.get(part))
        if unknown := [name for name in fields if name not in known]:
            yield f"{f'its {part}' if part else 'it'} has what this dmrc does not know: {', '.join(unknown)}"
    yield from secrets_in(interaction, redactor)


def secrets_in(interaction: Interaction, redactor: Redactor) -> Iterator[str]:
    """Yield where the recorder would have left something out."""
    exchange = interaction.as_exchange()
    masked = redactor.masked(exchange)
    if masked is exchange:
        return
    remedy = "replace it with [redacted], and make it invalid where it is used"
    for part, before, after in _bodies(exchange, masked):
        if before != after:
            place, text = _first_change(before, after)
            yield f"a secret is in {part}{f' at {place}' if place else ''} ({text[:_SHOWN]}…): {remedy}"
    if (exchange.path, exchange.model_requested, exchange.model_reference) != (
        masked.path,
        masked.model_requested,
        masked.model_reference,
    ):
        yield f"a secret is in its path or its model: {remedy}"


def _bodies(exchange: Exchange, masked: Exchange) -> Iterator[tuple[str, bytes, bytes]]:
    yield "the request", exchange.request_body, masked.request_body
    yield "the answer", exchange.response_body, masked.response_body


def _first_change(before: bytes, after: bytes) -> tuple[str, str]:
    """Return the JSON path of the first value that differs, and what of it differs; "" where that is no JSON."""
    old, new = ([one.value for one in Documents.of(body).documents] for body in (before, after))
    for one, two in zip(old, new, strict=False):
        for place, left, right in _changes(one, two, ""):
            return place, _from_change(left, right)
    return "", _from_change(before.decode("utf-8", "replace"), after.decode("utf-8", "replace"))


def _changes(old: JsonValue, new: JsonValue, place: str) -> Iterator[tuple[str, str, str]]:
    if isinstance(old, dict) and isinstance(new, dict):
        for name in old:
            yield from _changes(old[name], new.get(name), f"{place}.{name}".lstrip("."))
    elif isinstance(old, list) and isinstance(new, list):
        for number, (one, two) in enumerate(zip(old, new, strict=False)):
            yield from _changes(one, two, f"{place}.{number}".lstrip("."))
    elif old != new:
        yield place, str(old), str(new)


def _from_change(old: str, new: str) -> str:
    """Return what stands in a text where another text begins to differ."""
    at = next((index for index, (one, two) in enumerate(zip(old, new, strict=False)) if one != two), 0)
    return old[at:]
