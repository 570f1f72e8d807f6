"""What a recorded answer calls itself: its ids and times come again when it is given in its other form.

A client sends such ids back (`previous_response_id`), so they must be those that are recorded.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from dmrc.capture.documents import Documents
from dmrc.dialects.dialect import Timing
from dmrc.fields import JsonObject, JsonValue
from dmrc.json_values import items_of, object_of

_TIMES = ("created_at", "completed_at")
_NANOSECONDS = 1_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordedNames:
    """The names and times of one answer, whatever form it was recorded in."""

    ids: tuple[str, ...] = ()
    """Its own id and those of its items, in their order."""
    times: tuple[tuple[str, str | int], ...] = ()
    """When it was made: `created_at`, `completed_at`, as the dialect writes them; the last of a name is its end."""
    model: str | None = None
    """What it calls the model."""
    stop_sequence: str | None = None
    """Which of the stop sequences ended it, in Anthropic's words."""
    total_ms: float = 0.0
    """What Ollama says that it took."""
    load_ms: float = 0.0
    """Of that, what the model took to load."""
    response: JsonObject | None = None
    """The whole of it, where it is one of the Responses: a stream of theirs ends with that."""

    @classmethod
    def of(cls, body: bytes) -> RecordedNames:
        """Read the names in an answer, a stream or whole."""
        told = [one.value for one in Documents.of(body).documents if isinstance(one.value, dict)]
        holders = [holder for document in told for holder in _holders(document)]
        last = told[-1] if told else {}
        models = (holder.get("model") for holder in holders)
        enders = [one for document in told for one in (document, object_of(document.get("delta")))]
        stops = (one.get("stop_sequence") for one in enders)
        times = [(name, holder.get(name)) for holder in holders for name in _TIMES]
        return cls(
            ids=_ids(holders),
            times=tuple((name, at) for name, at in times if isinstance(at, str | int)),
            model=next((model for model in models if isinstance(model, str)), None),
            stop_sequence=next((word for word in stops if isinstance(word, str)), None),
            total_ms=_milliseconds(last.get("total_duration")),
            load_ms=_milliseconds(last.get("load_duration")),
            response=last if last.get("object") == "response" else object_of(last.get("response")) or None,
        )

    def clock(self) -> Timing:
        """Return what it took; see `Clock`."""
        return Timing(self.total_ms, self.load_ms)

    def put_into(self, parts: Sequence[bytes]) -> list[bytes]:
        """Return an answer that says the same with these names, instead of those that it has by itself."""
        made = RecordedNames.of(b"".join(parts))
        new = dict(zip((one.encode() for one in made.ids), (one.encode() for one in self.ids), strict=False))
        named = re.compile(b"|".join(map(re.escape, new))) if new else None
        found = [named.sub(lambda match: new[match[0]], part) if named else part for part in parts]
        ends = dict(self.times)
        for name, value in made.times:
            if name in ends:
                # Arguments of a tool may have such a field as well, with another value.
                known = re.compile(b'("%s": ?)%s(?=[,}])' % (name.encode(), re.escape(json.dumps(value).encode())))
                found = [known.sub(_followed_by(ends[name]), part) for part in found]
        return found if self.response is None else [*found[:-1], _ended(found[-1], self.response)]


def _ended(part: bytes, response: JsonObject) -> bytes:
    """Return the last part of a stream of the Responses with the response that it ends with."""
    *before, last, _ = part.split(b"\n\n")
    head, name, _ = last.partition(b'"response":')
    return b"\n\n".join([*before, head + name + json.dumps(response).encode() + b"}", b""])


def _followed_by(value: str | int) -> Callable[[re.Match[bytes]], bytes]:
    written = json.dumps(value).encode()
    return lambda match: match[1] + written


def _holders(document: JsonObject) -> Iterator[JsonObject]:
    """Yield what an event, or an answer, tells of the answer as a whole."""
    if ("sequence_number" not in document and "type" not in document) or document.get("type") == "message":
        yield document
    yield from filter(None, (object_of(document.get("message")), object_of(document.get("response"))))


def _ids(holders: Sequence[JsonObject]) -> tuple[str, ...]:
    """Return the ids of an answer and of its items: of a stream the last event has all."""
    own = next((one for holder in holders if isinstance(one := holder.get("id"), str)), None)
    items = items_of(holders[-1].get("output")) if holders else []
    return tuple(one for one in (own, *(item.get("id") for item in items)) if isinstance(one, str))


def _milliseconds(nanoseconds: JsonValue) -> float:
    return nanoseconds / _NANOSECONDS if isinstance(nanoseconds, int | float) else 0.0
