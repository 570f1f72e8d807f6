"""Chats with a runner by the way of the gateway: a lease for each request, in the slot that it is told."""

from __future__ import annotations

import json
from contextlib import closing
from dataclasses import dataclass, field
from typing import Protocol

from dmrc.dialects.dialect import Call
from dmrc.engines.session import Session
from dmrc.exchange import JsonValue
from dmrc.scheduler.scheduler import Scheduler
from dmrc.scheduler.target import Target

_PATH = "/v1/chat/completions"


@dataclass(frozen=True)
class Told:
    """What an answer says of itself."""

    said: str
    computed: int
    """Tokens of its prompt that were computed."""
    cached: int
    """Tokens of its prompt that were there already."""


class Ask(Protocol):
    """Asks one server; `more` are other fields of the request."""

    async def __call__(self, messages: list[dict[str, str]], **more: JsonValue) -> Told: ...


async def ask(session: Session, messages: list[dict[str, str]], slot: int | None = None, **more: JsonValue) -> Told:
    """Ask for some tokens at temperature 0."""
    settled: dict[str, JsonValue] = {"max_tokens": 8, "temperature": 0, "seed": 1}
    document = {"messages": list[JsonValue](messages), **settled, **more}
    body = Call(_PATH, document, raw=json.dumps(document).encode()).in_slot(slot).body()
    with closing(await session.post(_PATH, {"content-type": "application/json"}, body)) as answer:
        told = json.loads(b"".join([chunk async for chunk in answer]))
        assert answer.status == 200, told
    return Told(told["choices"][0]["message"]["content"], told["timings"]["prompt_n"], told["timings"]["cache_n"])


def by_leases(scheduler: Scheduler, target: Target, *, may_be_kept: bool = False) -> Ask:
    """Return what asks the runner of a target, each time by a lease of its own."""

    async def ask_once(messages: list[dict[str, str]], **more: JsonValue) -> Told:
        async with scheduler.lease(target) as lease:
            slot = lease.slot_for({"messages": list(messages), **more}, may_be_kept=may_be_kept)
            return await ask(lease.session, messages, slot, **more)

    return ask_once


def words(number: int, count: int) -> str:
    """Return words of the tiny model that differ from those of other numbers from the first one on."""
    return " ".join(f"{number} {word}" for word in ("bada", "kiti", "momo", "susu", "vova", "zizi") * (count // 6))


@dataclass
class Conversation:
    """A conversation that always goes on in the same words."""

    number: int
    system: str | None = None
    length: int = 36
    messages: list[dict[str, str]] = field(default_factory=list)

    async def turn(self, ask: Ask, **more: JsonValue) -> Told:
        """Say something, and remember the answer."""
        if self.system and not self.messages:
            self.messages.append({"role": "system", "content": self.system})
        said = f"{self.number} {words(self.number, self.length)} {len(self.messages)}"
        self.messages.append({"role": "user", "content": said})
        told = await ask(self.messages, **more)
        self.messages.append({"role": "assistant", "content": told.said})
        return told
