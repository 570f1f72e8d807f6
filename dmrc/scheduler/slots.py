"""Which slot of a runner holds which prompt, and which one the next request gets.

llama.cpp's server takes the slot whose prompt has the longest beginning in common with the new one. That throws away
what followed there: two conversations with one long system message stay in one slot, and push each other out of it
while the others are empty. So each request is told its slot (`id_slot`), by what was sent to which slot before:

1. A slot costs what has to be computed in it, and what is lost of the prompt that it holds.
2. What is lost counts less the longer nobody came back for it, so that a conversation that has ended goes in the end.
3. What the server keeps in its own cache of prompts comes back for a copy: it counts a quarter. The server does so if
   less than half of a slot's prompt is in the new one.
4. Who comes back and was pushed out is given the slot where the least is lost, and not that of its neighbour again.
5. A conversation that goes on with other tools stays in its slot: where a template puts tools is not known, and nobody
   comes back for the prompt with the old ones. If somebody does, rule 4 holds for both.

Where one request has a slot that nobody here knows (it wants several answers, or its caller names a slot), none is told
one until it has ended: a request that is told a busy slot would wait for it. Lengths are in characters.
Source: `get_available_slot` in https://github.com/ggml-org/llama.cpp/blob/master/tools/server/server-context.cpp
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass

from dmrc.scheduler.sent_prompt import SentPrompt

_OF_A_COPY = 0.25  # what it costs to bring a prompt back from the server's cache, as a share of computing it
_REMEMBERED = 2  # prompts that were pushed out, for each slot


@dataclass(slots=True, eq=False)
class Slot:
    """One slot of a runner."""

    number: int
    """As its server counts them, from 0."""
    prompt: SentPrompt | None = None
    """What was sent to it last; None: nothing yet."""
    is_busy: bool = False
    may_be_kept: bool = False
    """Whether its prompt may be written to a file."""
    worth: float = 0.0
    """What it is worth to keep its prompt, on the scale of `Slots`."""
    used: int = 0
    """Number of the last request that it got."""


@dataclass(slots=True, eq=False)
class Seat:
    """What one request has of the slots, until it has ended."""

    slot: Slot | None
    """Its slot; None where nobody knows which one it has."""
    number: int | None
    """What its server is told; None where it chooses by itself."""


@dataclass(slots=True)
class _Choice:
    slot: Slot
    computed: int
    lost: float
    pushes_out: bool
    goes_on: bool = False

    @property
    def cost(self) -> float:
        return self.computed + (0.0 if self.goes_on else self.lost)


class Slots:
    """The slots of one runner. Not safe for threads."""

    def __init__(self, count: int, *, has_cache: bool) -> None:
        """Begin with empty slots; `has_cache` is whether the server keeps prompts that were pushed out of them."""
        self.all = [Slot(number) for number in range(count)]
        self._has_cache = has_cache
        self._pushed_out: deque[SentPrompt] = deque(maxlen=_REMEMBERED * count)
        self.may_be_kept = True
        """Whether all that may not be kept is in slots that are known."""
        self._unknown = 0
        self._left_behind: list[Seat] = []
        self._requests = 0
        self._lost = 0.0  # of all so far: what was not used while so much was lost is worth nothing (GreedyDual)

    def take(self, document: Mapping[str, object], *, may_be_kept: bool = False) -> Seat:
        """Give a slot to a request that is about to be sent; `may_be_kept` is whether a file may have its prompt."""
        prompt = SentPrompt.of(document)
        free = [slot for slot in self.all if not slot.is_busy]
        if prompt is None or self._unknown or not free:
            self._unknown += 1
            self.may_be_kept &= may_be_kept
            return Seat(None, None)
        choice = self._choice(prompt, free)
        self._enter(choice, prompt)
        choice.slot.may_be_kept = may_be_kept
        return Seat(choice.slot, choice.slot.number if len(self.all) > 1 else None)

    def holds(self, number: int, prompt: SentPrompt) -> None:
        """Note that a slot was given a prompt before the first request."""
        slot = self.all[number]
        slot.prompt, slot.worth, slot.may_be_kept = prompt, self._lost + prompt.size, True

    def leave(self, seat: Seat) -> None:
        """Note that the request of a seat has ended."""
        if seat.slot is None:
            self._unknown -= 1
        else:
            seat.slot.is_busy = False

    def leave_behind(self, seat: Seat, others: int) -> None:
        """Note that the server has let go of one request whose caller has hung up, and that it has `others` yet.

        It does not say which one that was: so their slots are free when there are no others.
        """
        self._left_behind.append(seat)
        while not others and self._left_behind:
            self.leave(self._left_behind.pop())

    def _choice(self, prompt: SentPrompt, free: list[Slot]) -> _Choice:
        pushed_out = self._came_back(prompt)
        choices = [self._weighed(slot, prompt, pushed_out) for slot in free]
        if pushed_out and all(prompt.size - one.computed < pushed_out for one in choices):
            return min(choices, key=lambda one: (one.lost, one.computed, one.slot.used))
        return min(choices, key=lambda one: (one.cost, not one.goes_on, one.slot.used))

    def _came_back(self, prompt: SentPrompt) -> int:
        """Return how long the prompt was that was pushed out and that this one goes on with; 0: there is none."""
        known = max((one for one in self._pushed_out if one.begins(prompt)), key=lambda one: one.size, default=None)
        if known is None:
            return 0
        self._pushed_out.remove(known)
        return known.size

    def _weighed(self, slot: Slot, prompt: SentPrompt, pushed_out: int) -> _Choice:
        """Return what it costs to compute a prompt in a slot."""
        if slot.prompt is None:
            return _Choice(slot, prompt.size, 0.0, pushes_out=False)
        common, size = slot.prompt.common(prompt), slot.prompt.size
        lost = (size - common) / size * max(0.0, slot.worth - self._lost) if size else 0.0
        goes_on = slot.prompt.is_spoken_on_by(prompt)
        if self._has_cache and common < size / 2:
            return _Choice(slot, prompt.size - max(common, pushed_out), lost * _OF_A_COPY, common < size, goes_on)
        return _Choice(slot, prompt.size - common, lost, common < size, goes_on)

    def _enter(self, choice: _Choice, prompt: SentPrompt) -> None:
        slot = choice.slot
        if slot.prompt is not None and choice.pushes_out:
            self._pushed_out.append(slot.prompt)
        self._requests += 1
        self._lost += 0.0 if choice.goes_on else choice.lost
        slot.prompt, slot.is_busy, slot.used = prompt, True, self._requests
        slot.worth = self._lost + prompt.size
