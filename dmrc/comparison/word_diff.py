"""Two texts side by side, with the words marked that only one of them has."""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Sequence
from dataclasses import dataclass

from dmrc.comparison.similarity import MOST_PAIRS, WORD, pairs_of


@dataclass(frozen=True, slots=True)
class TextPart:
    """Some words that belong together: the other text has them, or has not."""

    text: str
    """Its words, with the spaces after them."""
    is_common: bool
    """Whether the other text has it in this place, too."""


@dataclass(frozen=True, slots=True)
class _Block:
    """Some words of the one text beside some of the other, either may be none."""

    is_common: bool
    one: range
    other: range


@dataclass(frozen=True, slots=True)
class _Words:
    """A text in words."""

    text: str
    words: Sequence[str]
    starts: Sequence[int]
    """Where each begins, and the end of the text; the spaces after a word are its own, the first has those before."""

    @classmethod
    def of(cls, text: str) -> _Words:
        found = list(WORD.finditer(text))
        starts = [0, *(match.start() for match in found[1:]), len(text)]
        return cls(text, [match[0] for match in found], starts if found else [0])

    def lines(self) -> list[range]:
        """Return the words of each line."""
        ends = [number + 1 for number in range(len(self.words)) if "\n" in self._spaced(number)]
        return [range(start, end) for start, end in zip([0, *ends], [*ends, len(self.words)], strict=True)]

    def slice(self, part: range) -> str:
        return self.text[self.starts[part.start] : self.starts[part.stop]] if part else ""

    def _spaced(self, number: int) -> str:
        return self.text[self.starts[number] : self.starts[number + 1]]


def side_by_side(one: str, other: str) -> tuple[list[TextPart], list[TextPart]]:
    """Return both texts in parts, so that what is in one only can be marked; spaces are no difference.

    What would take too long word by word is compared line by line, and where that takes too long, is marked as a whole.
    """
    left, right = _Words.of(one), _Words.of(other)
    blocks = list(_blocks(left, right))
    return (
        _parts(left, [(block.one, block.is_common) for block in blocks]),
        _parts(right, [(block.other, block.is_common) for block in blocks]),
    )


def _parts(text: _Words, ranges: Sequence[tuple[range, bool]]) -> list[TextPart]:
    found = [TextPart(part, is_common) for words, is_common in ranges if (part := text.slice(words))]
    return found or ([TextPart(text.text, is_common=True)] if text.text else [])


def _blocks(left: _Words, right: _Words) -> Iterator[_Block]:
    words, others = range(len(left.words)), range(len(right.words))
    if pairs_of(left.words, right.words) <= MOST_PAIRS:
        yield from _matched(left.words, right.words)
        return
    head = _common(left.words, right.words)
    tail = _common(left.words[head:][::-1], right.words[head:][::-1])
    yield _Block(True, words[:head], others[:head])
    yield from _by_lines(left, right, words[head : len(words) - tail], others[head : len(others) - tail])
    yield _Block(True, words[len(words) - tail :], others[len(others) - tail :])


def _by_lines(left: _Words, right: _Words, words: range, others: range) -> Iterator[_Block]:
    """Yield the blocks of some words of both; lines that differ are compared word by word while that takes not long."""
    lines, other_lines = _within(left.lines(), words), _within(right.lines(), others)
    rows = [tuple(left.words[line.start : line.stop]) for line in lines]
    other_rows = [tuple(right.words[line.start : line.stop]) for line in other_lines]
    if pairs_of(rows, other_rows) > MOST_PAIRS:
        yield _Block(False, words, others)
        return
    left_to_spend = MOST_PAIRS
    for block in _matched(rows, other_rows):
        one, other = _joined(lines, block.one, words), _joined(other_lines, block.other, others)
        some, other_some = left.words[one.start : one.stop], right.words[other.start : other.stop]
        pairs = pairs_of(some, other_some)
        if block.is_common or pairs > left_to_spend:
            yield _Block(block.is_common, one, other)
            continue
        left_to_spend -= pairs
        for inner in _matched(some, other_some):
            yield _Block(inner.is_common, _moved(inner.one, one), _moved(inner.other, other))


def _matched(words: Sequence[Hashable], others: Sequence[Hashable]) -> Iterator[_Block]:
    from difflib import SequenceMatcher

    matcher = SequenceMatcher(None, words, others, autojunk=False)
    for kind, start, end, other_start, other_end in matcher.get_opcodes():
        yield _Block(kind == "equal", range(start, end), range(other_start, other_end))


def _common(words: Sequence[str], others: Sequence[str]) -> int:
    """Return how many words both begin with."""
    pairs = zip(words, others, strict=False)
    return next((number for number, (word, other) in enumerate(pairs) if word != other), min(len(words), len(others)))


def _within(lines: Sequence[range], words: range) -> list[range]:
    """Return the parts of lines that are among some words."""
    cut = (range(max(line.start, words.start), min(line.stop, words.stop)) for line in lines)
    return [line for line in cut if line]


def _joined(lines: Sequence[range], part: range, words: range) -> range:
    """Return the words of some lines that follow one another."""
    return range(lines[part.start].start, lines[part.stop - 1].stop) if part else words[:0]


def _moved(part: range, start: range) -> range:
    return range(part.start + start.start, part.stop + start.start)
