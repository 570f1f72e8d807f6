"""A conversation as the page of a request draws it: long texts folded, pictures apart, results at their calls. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from dmrc.capture.conversation import Message, ToolCall
from dmrc.capture.media import MARKER, beginning_of, picture_type
from dmrc.exchange import JsonValue
from dmrc.gguf import format_size
from dmrc.json_values import object_of
from dmrc.ui.cache import CacheMark
from dmrc.ui.rendering import LONGEST_SHOWN, pretty

FOLDED_FROM = 1500
"""Characters of a text that are shown at once."""

_WORTH_FOLDING = 300
_AFTER_MARK = 200
_SHOWN_PICTURES = {"image/png": "PNG", "image/jpeg": "JPEG", "image/gif": "GIF", "image/webp": "WebP"}


@dataclass(frozen=True, slots=True)
class FoldedText:
    """A text of which a page shows the beginning."""

    before: str
    """Its beginning, up to what is marked."""
    marked: str
    """What is not as it was in a former request; "" for nothing."""
    after: str
    """What is shown behind that."""
    more: str
    """What is there when it is unfolded."""
    characters: int
    """How many there are in all."""
    is_whole: bool
    """Whether all of it is in the page."""

    kind: Literal["text"] = "text"
    """Tells it from a picture."""


@dataclass(frozen=True, slots=True)
class Picture:
    """A picture, a sound or a document that was in a message."""

    hash: str
    """SHA-256 of its bytes."""
    about: str
    """`PNG, 64 × 64, 70 bytes`."""
    is_kept: bool
    """Whether the record has it, and it may be shown."""
    width: int | None
    """In pixels, where that is known; likewise the height."""
    height: int | None

    kind: Literal["picture"] = "picture"
    """Tells it from a text."""


@dataclass(frozen=True, slots=True)
class CallView:
    """A tool that a model called."""

    call: ToolCall
    """Its name and id."""
    arguments: FoldedText
    """JSON."""
    result: MessageView | None = None
    """The message that brought its result, where the conversation has it."""


@dataclass(frozen=True, slots=True)
class MessageView:
    """One message."""

    number: int
    """From 1 on; answers count on."""
    role: str
    """As it was written."""
    style: str
    """`system`, `user`, `assistant`, `tool` or `other`."""
    name: str
    """Of a result: the tool, where its call is known."""
    call_id: str
    """Of a result: its call."""
    parts: Sequence[FoldedText | Picture]
    """What it says, and the pictures in it, in their order."""
    reasoning: FoldedText | None
    """What the model thought before."""
    calls: Sequence[CallView]
    """Tools that it calls."""
    mark: CacheMark | None
    """Where this message is not as it was in the request before, as the cache lens sees it."""


def message_views(
    messages: Sequence[Message],
    media: Mapping[str, JsonValue],
    mark: CacheMark | None = None,
    first: int = 1,
) -> list[MessageView]:
    """Return the messages of a request, or of an answer; `first` is the number of the first one.

    The result of a call stands at its call, and not as a message by itself.
    """
    called = {call.id: call.name for one in messages for call in one.calls if call.id}
    views = [_view(number, one, media, mark, called) for number, one in enumerate(messages, first)]
    results = {one.call_id: one for one in views if one.style == "tool" and one.call_id in called}
    return [_with_results(one, results) for one in views if one.call_id not in results or one.style != "tool"]


def folded(text: str, mark: tuple[int, int] | None = None) -> FoldedText:
    """Return a text with a fold behind its first 1,500 characters, and behind what is marked (from, to)."""
    shown = text[:LONGEST_SHOWN]
    start, end = mark if mark is not None and mark[1] <= len(shown) else (0, 0)
    until = max(FOLDED_FROM, end + _AFTER_MARK if end else 0)
    if len(text) <= until + _WORTH_FOLDING:
        until = len(shown)
    return FoldedText(
        before=shown[:start] if end else shown[:until],
        marked=shown[start:end],
        after=shown[end:until] if end else "",
        more=shown[until:],
        characters=len(text),
        is_whole=len(shown) == len(text),
    )


def _view(
    number: int, one: Message, media: Mapping[str, JsonValue], mark: CacheMark | None, called: Mapping[str, str]
) -> MessageView:
    here = mark if mark is not None and mark.kind != "tool" and mark.number == number else None
    return MessageView(
        number=number,
        role=one.role,
        style=one.role if one.role in ("system", "user", "assistant", "tool") else "other",
        name=called.get(one.call_id or "", ""),
        call_id=one.call_id or "",
        parts=list(_parts(pretty(one.text) if one.role == "tool" else one.text, media, here)),
        reasoning=folded(one.reasoning) if one.reasoning else None,
        calls=[CallView(call, folded(pretty(call.arguments))) for call in one.calls],
        mark=here,
    )


def _with_results(view: MessageView, results: Mapping[str, MessageView]) -> MessageView:
    calls = [replace(call, result=results.get(call.call.id)) for call in view.calls]
    return replace(view, calls=calls) if calls else view


def _parts(text: str, media: Mapping[str, JsonValue], mark: CacheMark | None) -> Iterator[FoldedText | Picture]:
    """Yield what stands between pictures, and the pictures: each has a line of its own."""
    begun = 0
    for match in MARKER.finditer(text):
        if text[match.start() - 1 : match.start()] in ("", "\n") and text[match.end() : match.end() + 1] in ("", "\n"):
            if words := text[begun : match.start()].strip("\n"):
                yield folded(words)
            yield _picture(match["kind"], int(match["size"]), match["hash"], object_of(media.get(match["hash"])))
            begun = match.end()
    rest = text[begun:].removeprefix("\n") if begun else text
    if rest:
        # Only a text without pictures is the one that the lens has read: its places are those of this one.
        yield folded(rest, None if begun or mark is None else mark.span_in(rest))


def _picture(kind: str, size: int, hash: str, note: Mapping[str, JsonValue]) -> Picture:
    width, height = (value if isinstance(value := note.get(name), int) else None for name in ("width", "height"))
    pixels = f"{width:,} × {height:,}" if width and height else ""
    size_text = f"{size} bytes" if size < 1000 else format_size(size)
    named = _SHOWN_PICTURES.get(kind, kind)
    beginning = beginning_of(note.get("base64"))
    return Picture(
        hash=hash,
        about=", ".join(filter(None, (named, pixels, size_text))),
        is_kept=picture_type(beginning) is not None,
        width=width,
        height=height,
    )
