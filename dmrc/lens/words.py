"""What the lens sees, in sentences."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from dmrc.capture.summary import short_id
from dmrc.lens.changes import ChangeKind
from dmrc.lens.difference import PromptDifference
from dmrc.lens.look import CacheLook


@dataclass(frozen=True, slots=True)
class ChangeWords:
    """How a cause is told."""

    what: str
    """What a place does, or what happened; `{place}`, `{at}`, `{every}`, `{count}` and `{detail}` are filled in."""
    remedy: str
    """What to do about it."""


_LATER = "Put it at the end of the prompt, or leave it out: all that follows it is computed again."
_ONE_ORDER = "Sort it before it is sent: the same in another order is another prompt."
_APPEND = "Append to a conversation, and leave what was sent as it was: all behind the change is computed again."
_BEHIND = "Put what changes behind what stays the same: all behind the change is computed again."
_SLOTS = "Give the model more room for it: parallel in x-dmrc, or --cache-ram among its runtime_flags."

WORDS: dict[ChangeKind, ChangeWords] = {
    "clock": ChangeWords("{place} changes{at} {every}: a clock", _LATER),
    "date": ChangeWords("{place} changes{at} {every}: a date", _LATER),
    "counter": ChangeWords("{place} changes{at} {every}: a counter", _LATER),
    "number": ChangeWords("{place} changes{at} {every}: a number", _LATER),
    "token count": ChangeWords("{place} changes{at} {every}: a count of tokens", _LATER),
    "random id": ChangeWords("{place} changes{at} {every}: a random id", _LATER),
    "shuffled": ChangeWords("{place} has the same in another order{at} {every}: a shuffled list", _ONE_ORDER),
    "trimmed": ChangeWords(
        "the history begins later{at} {every}: the oldest messages were dropped",
        "Drop many at once and seldom, or raise context_size: each time, all that is left is computed again.",
    ),
    "replaced": ChangeWords(
        "{place} stands for earlier messages {every}: the history was summarised",
        "Summarise seldom, and much at once: each time, all that follows is computed again.",
    ),
    "removed": ChangeWords("{place} is missing {every}", _APPEND),
    "added": ChangeWords("{place} was put in before others {every}", _APPEND),
    "edited": ChangeWords("{place} changes{at} {every}: other words", _BEHIND),
    "parameter": ChangeWords(
        "{detail} changed {every}, and with it what the chat template writes",
        "Keep it the same in all requests of a conversation.",
    ),
    "unloaded": ChangeWords(
        "the model was loaded anew {every}, with an empty cache", "Keep it loaded for longer: keep_alive in x-dmrc."
    ),
    "displaced": ChangeWords("the prompt was no longer in the cache {every}: other requests took its place", _SLOTS),
    "replica": ChangeWords(
        "another replica answered {every}, whose cache did not have the prompt", "Send a conversation to one replica."
    ),
    "gone": ChangeWords("the prompt was no longer in the cache {every}", _SLOTS),
}
"""Every cause."""


def numbers(look: CacheLook) -> str:
    """Return what came from the cache: `812 of 1,400 prompt tokens from the cache (58 %), 588 computed`."""
    whole = look.exchange.prompt_tokens
    if whole is None:
        return "the engine did not say how many tokens the prompt has"
    if look.cached is None:
        return f"{whole:,} prompt tokens; the engine did not say how many came from its cache"
    shared = f"{look.cached:,} of {whole:,} prompt tokens from the cache ({percent(look.cached, whole)})"
    text = f"{shared}, {look.computed:,} computed"
    return f"{text}, about {look.again:,} of them again" if look.again else text


def where(look: CacheLook, difference: PromptDifference) -> str:
    """Return where a prompt differs first, and from whose: `Message 1 (system) differs first at character 47; …`."""
    at = "" if difference.at is None else f" at character {difference.at + 1}"
    whose = "the former request of the same conversation" if look.is_conversation else "the nearest of the same service"
    place = difference.piece.place
    return f"{place[0].upper()}{place[1:]} differs first{at}; before is request {short_id(look.former or '')}, {whose}"


def percent(part: int, whole: int) -> str:
    """Return a share: `58 %`; less than one is not told as none."""
    share = 100 * part / whole if whole else 0.0
    return f"{share:.0f} %" if share >= 1 or not part else "< 1 %"


def sentence(look: CacheLook) -> str | None:
    """Return why tokens were computed again; None where the cache worked."""
    if look.cause is None:
        return None
    difference = look.difference
    is_its = difference is not None and difference.kind == look.cause
    begins = difference.begins if is_its and difference is not None else None
    place = place_of([difference]) if is_its and difference is not None else None
    return told(look.cause, place, begins, "", look.detail)


def told(kind: ChangeKind, place: str | None, begins: int | None, often: str, detail: str) -> str:
    """Return a cause as a sentence; `often` is what `often` returns, or "" for a request alone."""
    at = "" if begins is None else f" at character {begins + 1}"
    text = WORDS[kind].what.format(place=place or "the prompt", at=at, every=often, detail=detail or "a parameter")
    text = " ".join(text.split()).replace(" :", ":").replace(" ,", ",")
    return f"{text[0].upper()}{text[1:]}."


def place_of(differences: Sequence[PromptDifference]) -> str:
    """Return the place of some differences of one kind, for people: `the system message`, `message 2 (user)`."""
    first = differences[0].piece
    if first.kind == "system":
        parts = {one.piece.part for one in differences}
        return f"the system message, {first.part}," if len(parts) == 1 and first.part else "the system message"
    if first.kind == "tool":
        names = {one.piece.role for one in differences}
        is_list = len(names) > 1 or any(one.kind == "shuffled" for one in differences)
        return "the list of tools" if is_list else f"the tool {first.role}"
    places = {one.piece.place for one in differences}
    return first.place if len(places) == 1 else f"an earlier {first.role} message"


def often(requests: int, compared: int) -> str:
    """Return how often something was so: `in every request`, `in 3 of 40 requests`; "" where one was compared."""
    if requests == compared:
        return "in every request" if compared > 1 else ""
    return f"in {requests:,} of {compared:,} requests"
