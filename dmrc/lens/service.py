"""What the requests of one service got from the cache, and what most often kept them from more. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from dmrc.fields import JsonObject
from dmrc.lens.changes import ChangeKind
from dmrc.lens.look import CacheLook
from dmrc.lens.words import often, percent, place_of, told


@dataclass(frozen=True, slots=True)
class CauseCount:
    """One reason, and how often it was one."""

    kind: ChangeKind
    """What changes, or why the same was not in the cache."""
    place: str | None
    """Where it changes, as `the system message`; None where nothing does."""
    begins: int | None
    """At which character the thing begins that changes, where that is the same in most of these requests; from 0 on."""
    requests: int
    """In how many requests."""
    again: int
    """About how many tokens were computed again for it."""
    example: CacheLook
    """The newest of them."""

    def sentence(self, compared: int) -> str:
        """Return it as one of so many requests: `The system message changes at character 41 in every request: …`."""
        return told(self.kind, self.place, self.begins, often(self.requests, compared), self.example.detail)

    def to_json(self) -> JsonObject:
        """Return it for programs."""
        difference = self.example.difference
        return {
            "kind": self.kind,
            "place": self.place,
            "begins": self.begins,
            "requests": self.requests,
            "computed_again_tokens": self.again,
            "detail": self.example.detail or None,
            "example": self.example.exchange.id,
            "difference": None if difference is None else difference.to_json(),
        }


@dataclass(frozen=True, slots=True)
class ServiceLook:
    """What the lens sees of one service with one model."""

    looks: tuple[CacheLook, ...]
    """Its requests, the oldest first; at least one."""
    causes: tuple[CauseCount, ...]
    """The most frequent one first."""

    @classmethod
    def of(cls, looks: Sequence[CacheLook]) -> ServiceLook:
        """Count the causes of some requests of one service, given the oldest first."""
        groups: dict[tuple[ChangeKind, str | None], list[CacheLook]] = {}
        for one in looks:
            if one.cause is not None:
                groups.setdefault((one.cause, _group(one)), []).append(one)
        causes = [_counted(kind, group) for (kind, _), group in groups.items()]
        return cls(tuple(looks), tuple(sorted(causes, key=lambda cause: (-cause.requests, -cause.again))))

    @property
    def compared(self) -> int:
        """Return how many requests had a former prompt to be compared with."""
        return sum(one.former is not None for one in self.looks)

    @property
    def unread(self) -> str | None:
        """Return why texts could not be compared, where none could."""
        reasons = Counter(one.unread for one in self.looks)
        return None if reasons[None] else reasons.most_common(1)[0][0]

    @property
    def counted(self) -> list[CacheLook]:
        """Return the requests of which the engine told how much came from its cache."""
        return [one for one in self.looks if one.computed is not None]

    @property
    def prompt_tokens(self) -> int:
        """Return how many tokens the prompts had of which the engine told what came from its cache."""
        return sum(one.exchange.prompt_tokens or 0 for one in self.counted)

    @property
    def computed(self) -> int:
        """Return how many of them were computed."""
        return sum(one.computed or 0 for one in self.counted)

    @property
    def again(self) -> int:
        """Return about how many of them were computed again."""
        return sum(one.again or 0 for one in self.counted)

    @property
    def numbers(self) -> str:
        """Return what came from the cache: `84 % of 41,200 prompt tokens in 31 requests were computed again`."""
        count, whole = len(self.looks), self.prompt_tokens
        among = f"{count:,} request{'s' if count != 1 else ''}"
        if not whole:
            return f"in {among} no engine said how much came from its cache"
        if self.unread is not None:
            return f"{percent(self.computed, whole)} of {whole:,} prompt tokens in {among} were computed"
        return f"{percent(self.again, whole)} of {whole:,} prompt tokens in {among} were computed again"

    def to_json(self) -> JsonObject:
        """Return it for programs."""
        newest, whole = self.looks[-1].exchange, self.prompt_tokens
        share = self.again / whole if whole and self.unread is None else None
        return {
            "project": newest.project,
            "service": newest.service,
            "model": newest.model_reference or newest.model_requested,
            "requests": len(self.looks),
            "compared_requests": self.compared,
            "prompt_tokens": whole,
            "cached_tokens": whole - self.computed,
            "computed_tokens": self.computed,
            "computed_again_tokens": self.again if self.unread is None else None,
            "computed_again_share": None if share is None else round(share, 4),
            "causes": [cause.to_json() for cause in self.causes],
            "not_compared": self.unread,
        }


def _group(look: CacheLook) -> str | None:
    """Return what is equal of places that are told as one."""
    difference = look.difference
    if difference is None or difference.kind != look.cause:
        return look.detail if look.cause == "parameter" else None
    piece = difference.piece
    return piece.kind if piece.kind != "message" else f"message {piece.role}"


def _counted(kind: ChangeKind, group: Sequence[CacheLook]) -> CauseCount:
    differences = [one.difference for one in group if one.difference is not None and one.difference.kind == kind]
    starts = Counter(one.begins for one in differences if one.begins is not None).most_common(1)
    begins = starts[0][0] if starts and 2 * starts[0][1] > len(group) else None
    again = sum(one.again or 0 for one in group)
    place = place_of(differences) if differences else None
    return CauseCount(kind, place, begins, len(group), again, group[-1])
