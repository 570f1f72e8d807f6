"""A recorded answer that is given: it is taken, read, and delivered to its end or not."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

from dmrc.cassettes.cassette import Cassette, Place
from dmrc.cassettes.equal import Equal
from dmrc.cassettes.forms import Form, form_of, in_form
from dmrc.cassettes.interaction import Asked, RecordedAnswer


@dataclass(slots=True)
class CassetteUse:
    """What a run made of one cassette."""

    used: Counter[int] = field(default_factory=Counter)
    """Times that each line was delivered."""
    repeated: int = 0
    """Answers that were given again, since no more had been recorded for an equal request."""


class Turn:
    """An interaction that answers a request now. For one thread, but for `read`.

    It ends with `delivered` or `released`, whatever happens.
    """

    def __init__(
        self, cassette: Cassette, entries: Sequence[Place], form: Form, equal: Equal, use: CassetteUse
    ) -> None:
        """Take the next one of some that ask the same, one that wanted its answer in this form before others.

        Raises:
            CassetteError: A line cannot be read any more; nothing is taken then.
        """
        self._number, self._is_again = equal.take(
            len(entries), lambda number: form_of(cassette.asked(entries[number])) == form
        )
        self._entry = entries[self._number]
        self._cassette = cassette
        self._equal = equal
        self._use = use

    @property
    def place(self) -> str:
        """Return where it stands: `api.jsonl:14`."""
        return self._cassette.place(self._entry)

    @property
    def size_bytes(self) -> int:
        """Return how much is to be read."""
        return self._entry.length

    def read(self, asked: Asked, *, stream: bool) -> RecordedAnswer:
        """Return the answer as it is asked for: a stream, or whole. Any thread; of 4 MiB it takes up to 0.2 s.

        Raises:
            CassetteError: Its line cannot be read any more, or cannot be given in this form.
        """
        return in_form(self._cassette.interaction(self._entry), asked, stream=stream)

    def delivered(self) -> None:
        """Count it: the caller has all of it."""
        self._use.used[self._entry.number] += 1
        if self._is_again:
            self._use.repeated += 1
        else:
            self._equal.under_way -= 1

    def released(self) -> None:
        """Give it back: it was not delivered to its end, and whoever asks the same again shall have it."""
        if not self._is_again:
            self._equal.give_back(self._number)


@dataclass(frozen=True, slots=True)
class Taken:
    """A recorded answer that is being given."""

    turn: Turn
    """What hears of its end."""
    answer: RecordedAnswer
    """As it was asked for: a stream, or whole."""

    @property
    def place(self) -> str:
        """Return where it stands: `api.jsonl:14`."""
        return self.turn.place

    def delivered(self) -> None:
        """See `Turn.delivered`."""
        self.turn.delivered()

    def released(self) -> None:
        """See `Turn.released`."""
        self.turn.released()
