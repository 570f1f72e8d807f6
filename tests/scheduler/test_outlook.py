"""What is free, and what would fit: by the plan that a load follows. Models of `context_size` MiB for each slot."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from dmrc.engines.local_model import LocalModel
from dmrc.engines.plain_engine import PlainEngine
from dmrc.scheduler.budget import Budget
from dmrc.scheduler.outlook import Outlook, Rooms, forecast, forecasts_by_context
from dmrc.scheduler.room import FreeCard, Room
from dmrc.scheduler.runners import Runners
from dmrc.scheduler.seen_devices import Seen, SeenDevices
from dmrc.scheduler.states import RunnerState
from tests.scheduler.test_cards import CARD, ENGINE, HOST_MIB, MIB, resident, target


def rooms(now_mib: int, emptied_mib: int) -> Rooms:
    return Rooms(Room(now_mib * MIB), Room(emptied_mib * MIB), emptied_mib * MIB, None)


@pytest.mark.parametrize(
    ("now", "emptied", "verdict"),
    [(1000, 1000, "fits"), (500, 1000, "fits-later"), (500, 600, "too-large")],
)
def test_a_model_fits_now_or_when_others_have_gone_or_never(now: int, emptied: int, verdict: str) -> None:
    found = forecast(ENGINE, target(800), rooms(now, emptied))

    assert found.verdict == verdict
    assert found.everywhere_bytes == (800 + HOST_MIB) * MIB


def test_what_names_a_card_that_is_not_there_and_what_nobody_counts_is_unknown() -> None:
    assert forecast(ENGINE, target(800, device="CUDA7"), rooms(1000, 1000)).verdict == "unknown"

    class Elsewhere(PlainEngine):
        name = "upstream"

    assert forecast(Elsewhere(), target(800), rooms(1000, 1000)).verdict == "unknown"


def test_what_is_held_is_not_free_and_only_what_stays_is_in_the_way_later() -> None:
    runners, devices = Runners(), SeenDevices()
    devices._last["llama.cpp"] = Seen((replace(CARD, free_bytes=CARD.total_bytes - 3000 * MIB),), 0.0)
    for one in (resident(1000), resident(2000, pinned=True), resident(500, state=RunnerState.DRAINING)):
        runners.add(one)
    budget = Budget(10_000 * MIB)

    seen = Outlook(budget, runners, devices).rooms("llama.cpp")

    held = sum(one.held.estimated_bytes for one in runners.alive())
    assert seen.now.ram_bytes == 10_000 * MIB - held
    assert seen.emptied.ram_bytes > seen.now.ram_bytes
    (now,), (emptied,) = seen.now.cards, seen.emptied.cards
    assert isinstance(now, FreeCard)
    assert now.free_bytes < emptied.free_bytes < CARD.total_bytes - 2000 * MIB + 1
    assert seen.total_bytes == budget.total() == 10_000 * MIB
    assert seen.seen_seconds_ago is not None
    assert Outlook(budget, runners, devices).rooms("vllm").seen_seconds_ago is None


def test_larger_contexts_are_foretold_up_to_what_the_model_was_trained_for() -> None:
    model = LocalModel(path=Path("none"), trained_context=20_000)

    found = forecasts_by_context(ENGINE, replace(target(3000), model=model), rooms(9000, 17_000))

    assert [(size, one.verdict) for size, one in found] == [
        (3000, "fits"),
        (4096, "fits"),
        (8192, "fits"),
        (16384, "fits-later"),
        (20_000, "too-large"),
    ]
    assert all(one.need is not None and one.need.parallel == 1 for _, one in found)
