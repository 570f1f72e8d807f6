"""Has a stream process carry a stream from the engine to the caller, where that can be."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from dmrc.answer import Answer
from dmrc.engines.http_client.http_answer import HttpAnswer
from dmrc.gateway.inference.engine_answers import NamedAnswer
from dmrc.gateway.inference.exchange_builder import ExchangeBuilder
from dmrc.gateway.inference.sent_body import KEPT_BYTES
from dmrc.gateway.streams.carrying import Carrying, ProcessDiedError
from dmrc.gateway.streams.frames import StreamOrder
from dmrc.gateway.streams.processes import StreamProcesses
from dmrc.streaming import Transform


async def carried(
    streams: StreamProcesses, answer: Answer, transforms: Sequence[Transform], builder: ExchangeBuilder
) -> bool:
    """Have a stream carried whose head was sent, and return when all has gone to the caller but its end.

    False: it cannot be carried, and nothing has changed. Engine and caller must be connected without TLS, and nothing
    may stand between but what a process of its own can do, too: a model's name, a dialect, fixes. A dialect cannot that
    remembers its answers, as Responses does.

    Raises:
        ConnectionError: The engine's connection broke off.
        EngineError: It is no answer; or the process has died, and `builder.body` is cut.
    """
    child = streams.free()
    if child is None or not isinstance(answer, NamedAnswer):
        return False
    source, names = answer.at_its_source()
    if not isinstance(source, HttpAnswer):
        return False
    await asyncio.sleep(0)  # in this turn the event loop sends the head
    caller = builder.body.writer.lend()
    if caller is None or (lent := source.lend()) is None:
        return False
    order = StreamOrder(builder.clock.began_at, lent.raw, lent.options, (names, *transforms), KEPT_BYTES)
    carrying = child.carry(order, caller, lent.descriptor, builder.body.passed)
    if carrying is None:
        source.take_back()
        return False
    builder.body.carrying = carrying
    await _ended(carrying, source, builder)
    return True


async def _ended(carrying: Carrying, source: HttpAnswer, builder: ExchangeBuilder) -> None:
    try:
        outcome = await carrying.ended()
    except ProcessDiedError:
        builder.body.is_cut = True
        raise
    except asyncio.CancelledError:
        builder.body.is_cut = carrying.is_cut
        raise
    if outcome.error is not None:
        raise outcome.error
    if not outcome.is_complete:
        raise RuntimeError(f"a stream process failed: {outcome.bug}")
    source.was_completed(may_keep_alive=outcome.may_keep_alive)
