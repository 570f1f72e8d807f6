"""Answers that fail on purpose: that come late, break off, or have malformed tool calls."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing
from dataclasses import dataclass

from dmrc.dialects.table import dialect_of
from dmrc.exchange import FAULT, FAULT_PLANNED, FAULT_SKIPPED, Exchange
from dmrc.gateway.faults.malformed import MalformedArguments
from dmrc.gateway.faults.stream_pieces import StreamPieces
from dmrc.hooks.event_types import Annotate, AnswerCut
from dmrc.project import Fault, FaultKind


@dataclass(slots=True)
class ServiceCount:
    """What a service has met so far."""

    requests: int
    """Those that could meet a fault."""
    made: dict[FaultKind, int]
    """How many met which."""

    def add(self, kind: FaultKind) -> None:
        """Count one that was made."""
        self.made[kind] = self.made.get(kind, 0) + 1


@dataclass(frozen=True, slots=True)
class Making:
    """One fault of one answer, and where it is told whether it was made."""

    kind: FaultKind
    """Which."""
    count: ServiceCount
    """Of the service."""
    annotate: Annotate
    """Leaves notes on the exchange."""

    def made(self) -> None:
        """Tell that it is made now."""
        self.count.add(self.kind)
        self.annotate(**{FAULT: self.kind, FAULT_PLANNED: None})

    def skipped(self, why: str) -> None:
        """Tell that the answer gave no occasion for it."""
        self.annotate(**{FAULT_PLANNED: None, FAULT_SKIPPED: f"{self.kind}: {why}"})


def harmed(fault: Fault, exchange: Exchange, stream: AsyncIterator[bytes], making: Making) -> AsyncIterator[bytes]:
    """Return an answer with a fault of those that concern answers."""
    match fault.kind:
        case "slow_first_token":
            return _late(stream, fault.seconds, making)
        case "cut":
            return _cut(stream, fault.after, making) if exchange.stream else _broken(stream, making)
    return _malformed(exchange, stream, making)


async def _late(stream: AsyncIterator[bytes], seconds: float, making: Making) -> AsyncGenerator[bytes]:
    """Yield a stream whose first piece is held back."""
    is_first = True
    async for chunk in stream:
        if is_first:
            is_first = False
            making.made()
            await asyncio.sleep(seconds)
        yield chunk


async def _cut(stream: AsyncIterator[bytes], after: int, making: Making) -> AsyncGenerator[bytes]:
    """Yield the first pieces of a stream, and break it off where there are more."""
    pieces, sent = StreamPieces(), 0
    async for chunk in stream:
        for piece in pieces.read(chunk):
            if sent == after:
                making.made()
                raise AnswerCut(f"the answer is cut after piece {after}: made on purpose by dmrc (fault cut)")
            sent += 1
            yield piece
    making.skipped(f"the answer had {sent} pieces")
    if rest := pieces.rest():
        yield rest


async def _broken(stream: AsyncIterator[bytes], making: Making) -> AsyncGenerator[bytes]:
    """Break off an answer that is no stream, when all the work for it was done."""
    async for _ in stream:
        pass
    making.made()
    raise AnswerCut("the answer is cut: made on purpose by dmrc (fault cut)")
    yield b""  # it is a generator, as the others are


async def _malformed(exchange: Exchange, stream: AsyncIterator[bytes], making: Making) -> AsyncGenerator[bytes]:
    """Yield an answer without the end of its tool calls' arguments."""
    malformed = MalformedArguments(dialect_of(exchange.dialect, exchange.operation), making.made)
    async with aclosing(malformed.stream(stream) if exchange.stream else malformed.whole(stream)) as changed:
        async for piece in changed:
            yield piece
    if not malformed.has_cut:
        making.skipped("the answer calls no tool")
