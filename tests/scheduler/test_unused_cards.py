"""A model on the processor of a machine with a graphics card: its users are told."""

from __future__ import annotations

import logging
from dataclasses import replace

import pytest

from dmrc.engines.cards import Card
from dmrc.engines.llama_cpp.engine import LlamaCpp
from dmrc.scheduler import reservations
from dmrc.scheduler.description import describe_runner
from tests.scheduler.conftest import Workshop, play

pytestmark = pytest.mark.engine

_CARD = Card("NVIDIA", "NVIDIA RTX 4090", "570.86.15")
_BUILT_IN = Card("Intel", None, "i915", is_part_of_processor=True)


class _KnowsNoCards(LlamaCpp):
    lists_devices = False


@pytest.mark.parametrize(
    ("cards", "engine", "device", "is_told"),
    [
        ((_CARD,), LlamaCpp(None), None, True),
        ((_CARD,), LlamaCpp(None), "cpu", False),
        ((_CARD,), _KnowsNoCards(None), None, False),
        ((_BUILT_IN,), LlamaCpp(None), None, False),
        ((), LlamaCpp(None), None, False),
    ],
)
def test_a_card_that_the_engine_does_not_list_is_told_where_a_model_could_use_it(
    workshop: Workshop,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    cards: tuple[Card, ...],
    engine: LlamaCpp,
    device: str | None,
    is_told: bool,
) -> None:
    monkeypatch.setattr(reservations, "cards", lambda: cards)
    scheduler, target = workshop.scheduler(engine=engine), workshop.target()
    target = replace(target, options=replace(target.options, device=device))

    async def story() -> None:
        with caplog.at_level(logging.WARNING):
            runner = await scheduler.load(target)

        told = (
            "model 'docker.io/local/tiny:latest' is computed by the processor: engine llama.cpp cannot use "
            "NVIDIA RTX 4090, driver 570.86.15. See: dmrc doctor"
        )
        assert describe_runner(runner)["notice"] == (told if is_told else None)
        assert (told in caplog.text) is is_told

    play(scheduler, story)
