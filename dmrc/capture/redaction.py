"""The secrets of a project: wherever they stand, however they were escaped, and split over a stream's events."""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Iterable, Iterator, Sequence
from urllib.parse import quote, quote_plus

from dmrc.capture.bodies import ParsedBodies
from dmrc.capture.documents import Edit, Spans, apply
from dmrc.capture.layers import layers, unescaped
from dmrc.capture.replacing import LARGEST_DOCUMENT_BYTES, mask_with, masked_text
from dmrc.capture.replacing import REDACTED as REDACTED
from dmrc.exchange import Exchange
from dmrc.project import KEY_PREFIX
from dmrc.secret_texts import merged, secrets_in_text

# A regular expression holds the GIL, and the gateway with it, until it returns: 64 KiB take a millisecond or two.
_WINDOW_BYTES = 64 << 10
_OWN_KEY = re.compile(KEY_PREFIX.encode() + rb"[A-Za-z0-9_-]{16,}")
_ESCAPE = rb'\\(?:u[0-9a-fA-F]{4}|["\\/bfnrt])'
_SHORTEST_ENCODED = 8
# Characters that are searched at once: the kinds of secrets that a short text cannot hold are soon passed over, and a
# header with an underscore must not have a long prompt searched for tokens that have one.
_TOGETHER = 4 << 10
_MOST_REMEMBERED, _LONGEST_REMEMBERED = 4096, 100
# Between texts that are searched at once: longer than any space that a secret may have between its name and its value.
_BETWEEN = "\n" * 9
# A text with one of these is searched alone: what they begin may reach beyond its end.
_SEARCHED_ALONE = ("\\", "%", "&", '"', "form-data")


class Redactor:
    """Finds and masks the values of one project's secrets, and dmrc's own keys. Safe in threads."""

    def __init__(self, values: Iterable[str] = ()) -> None:
        """Know the values; an empty one is none."""
        self.values = tuple(value for value in values if value)
        """What it looks for, in any of its forms."""
        texts = {form for value in self.values for form in (value, *_encoded(value))}
        self._texts = tuple(sorted(texts, key=len, reverse=True))
        self._bytes = tuple(sorted({form for text in texts for form in _escaped(text)}, key=len, reverse=True))
        self._harmless: set[str] = set()
        self._as_latin_1 = tuple(form.decode("latin-1") for form in self._bytes)

    @property
    def longest(self) -> int:
        """Return the length in bytes of the longest thing it looks for."""
        return max((len(form) for form in self._bytes), default=64)

    def masked(self, exchange: Exchange, bodies: ParsedBodies | None = None) -> Exchange:
        """Return the exchange without any of the values, in any of its parts; itself where it has none."""
        return mask_with(self, exchange, bodies=bodies)

    def masked_text(self, text: str) -> str:
        """Return a text without any of the values, escaped or not."""
        body = text.encode("utf-8", "surrogatepass")
        edits = [Edit(start, end, REDACTED.encode()) for start, end in self.in_bytes(body)]
        return masked_text(self, apply(body, edits).decode("utf-8", "surrogatepass") if edits else text)

    def in_bytes(self, body: bytes) -> Spans:
        """Return the spans in a body as it is."""
        latin = body.decode("latin-1")  # `in` of texts costs a third of that of bytes
        patterns = [_pattern(self._bytes[at]) for at, form in enumerate(self._as_latin_1) if form in latin]
        if KEY_PREFIX.encode() in body:
            patterns.append(_OWN_KEY.pattern)
        spans: Spans = []
        if patterns:
            # An escape is taken whole, so that no secret begins inside of one: the `n` of `\n` is none of `name`.
            pattern = re.compile(rb"(%s)|%s" % (b"|".join(patterns), _ESCAPE))
            spans = list(_spans(pattern, body, max(self.longest, 256)))
        if self._texts and b"\\u" in body and len(body) <= LARGEST_DOCUMENT_BYTES:
            spans = merged([*spans, *self._escaped_in(body)])
        return spans

    def in_text(self, text: str) -> Spans:
        """Return the spans in a text, and in what is escaped in it."""
        spans = [*self._values_in(text), *secrets_in_text(text)]
        if "\\" in text or "%" in text or "&" in text:
            for layer, back in layers(text):
                spans += [back(*span) for span in (*self._values_in(layer), *secrets_in_text(layer))]
        return merged(spans) if spans else spans

    def finds_in(self, texts: Sequence[str]) -> bool:
        """Return whether there is one in any of the texts; most have none, so many are searched at once.

        Short ones are remembered: headers, names and kinds are the same in most requests.
        """
        texts = [text for text in texts if text not in self._harmless]
        joined: list[str] = []
        size = 0
        for text in texts:
            joined.append(text)
            size += len(text)
            if size > _TOGETHER:
                if self._finds_in_group(joined):
                    return True
                joined, size = [], 0
        if self._finds_in_group(joined):
            return True
        if len(self._harmless) > _MOST_REMEMBERED:
            self._harmless.clear()
        self._harmless.update(text for text in texts if len(text) <= _LONGEST_REMEMBERED)
        return False

    def _finds_in_group(self, texts: list[str]) -> bool:
        together = _BETWEEN.join(texts)
        if marks := [mark for mark in _SEARCHED_ALONE if mark in together]:
            apart = [text for text in texts if any(mark in text for mark in marks)]
            if any(map(self.in_text, apart)):
                return True
            together = _BETWEEN.join([text for text in texts if not any(mark in text for mark in marks)])
        return bool(self._values_in(together) or secrets_in_text(together))

    def _values_in(self, text: str) -> Spans:
        patterns = [re.escape(form) for form in self._texts if form in text]
        if KEY_PREFIX in text:
            patterns.append(_OWN_KEY.pattern.decode())
        return [match.span() for match in re.finditer("|".join(patterns), text)] if patterns else []

    def _escaped_in(self, body: bytes) -> Iterator[tuple[int, int]]:
        """Yield where values stand of which any character is an escape, in keys too, and in what is no JSON."""
        text = body.decode("utf-8", "surrogateescape")
        if (found := unescaped(text)) is None:
            return
        layer, back = found
        for span in self._values_in(layer):
            start, end = back(*span)
            if not text.isascii():
                start, end = (len(text[:at].encode("utf-8", "surrogateescape")) for at in (start, end))
            yield start, end


def _pattern(form: bytes) -> bytes:
    """Return what matches a form; one that ends in a lone backslash ends inside of no escape."""
    is_cut = (len(form) - len(form.rstrip(b"\\"))) % 2
    return re.escape(form) + (rb'(?!["\\/bfnrtu])' if is_cut else b"")


def _spans(pattern: re.Pattern[bytes], body: bytes, longest: int) -> Iterator[tuple[int, int]]:
    """Yield the matches, found window by window; `longest` is the length of the longest one."""
    position = 0
    while position < len(body):
        window = position + _WINDOW_BYTES
        for match in pattern.finditer(body, position, min(len(body), window + longest)):
            if match.start() >= window:
                break
            if match[1] is not None:
                yield match.span()
            position = match.end()
        position = max(position, window)


def _escaped(text: str) -> set[bytes]:
    """Return a text as the JSON writers of common languages put it into a string."""
    raw = json.dumps(text, ensure_ascii=False)[1:-1]
    ascii_only = json.dumps(text)[1:-1]
    forms = {text, raw, ascii_only, raw.replace("/", "\\/"), ascii_only.replace("/", "\\/")}
    for unsafe in ("<>&", "<>&'", "<>&'=", "<>&'+`"):  # Go, Gson without and with `=`, .NET
        for hexadecimal in ("{:04x}", "{:04X}"):
            table = {ord(char): "\\u" + hexadecimal.format(ord(char)) for char in unsafe}
            forms |= {raw.translate(table), ascii_only.translate(table)}
    return {form.encode("utf-8", "surrogatepass") for form in forms}


def _encoded(text: str) -> set[str]:
    """Return a text percent-encoded, in hexadecimal, and as base64 shows it at each of the three alignments."""
    data = text.encode("utf-8", "surrogatepass")
    forms = {quote(data, safe=""), quote_plus(data), quote_plus(data, safe="/"), data.hex(), data.hex().upper()}
    for before in range(3):
        # Whole groups of six bits only: the first and last characters also depend on the neighbours.
        first = -(-before * 8 // 6)
        last = (before + len(data)) * 8 // 6
        form = base64.b64encode(bytes(before) + data).decode()[first:last]
        forms |= {form, form.replace("+", "-").replace("/", "_")}
    return {form for form in forms if len(form) >= _SHORTEST_ENCODED}
