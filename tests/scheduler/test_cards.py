"""Who gets the memory of graphics cards. Decisions only, nothing runs: models of `context_size` MiB for each slot."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from dataclasses import replace

import pytest

from dmrc.engines.devices import Device
from dmrc.engines.engine import MemoryEstimate
from dmrc.engines.local_model import LocalModel
from dmrc.engines.placement import SPARE_BYTES, DeviceWish
from dmrc.engines.plain_engine import PlainEngine
from dmrc.errors import InputError, InsufficientMemoryError, UnsupportedError
from dmrc.project import ServingOptions
from dmrc.scheduler.budget import Budget, free_card
from dmrc.scheduler.description import describe_runner
from dmrc.scheduler.eviction import Eviction, Plan
from dmrc.scheduler.fitting import MemoryNeed, best_fit
from dmrc.scheduler.limits import Limits
from dmrc.scheduler.queue import RequestQueue
from dmrc.scheduler.room import FreeCard, Reading, Room
from dmrc.scheduler.runner import ManagedRunner
from dmrc.scheduler.states import RunnerState
from dmrc.scheduler.target import Target

MIB = 1 << 20
HOST_MIB = 100
CARD = Device("Vulkan0", "llvmpipe", 10_000 * MIB, 10_000 * MIB)
INTEGRATED = Device("Vulkan0", "a part of the processor", 10_000 * MIB, 10_000 * MIB, shares_ram=True)
OTHER = Device("Vulkan1", "llvmpipe", 6_000 * MIB, 6_000 * MIB)


class Sized(PlainEngine):
    """Takes `context_size` MiB a slot, of which any tenth can be on a card, and 100 MiB of RAM beside."""

    name = "llama.cpp"

    def estimate(
        self, model: LocalModel | None, options: ServingOptions, parallel: int, card_bytes: int = 0
    ) -> MemoryEstimate:
        movable = (options.context_size or 0) * parallel * MIB
        tenths = min(10, 10 * card_bytes // movable)
        return MemoryEstimate(movable, 0, 0, 0, 0, HOST_MIB * MIB, movable * tenths // 10, movable)

    def largest_context(
        self,
        model: LocalModel | None,
        options: ServingOptions,
        parallel: int,
        available_bytes: int,
        card_bytes: int | None = None,
    ) -> int | None:
        return (available_bytes if card_bytes is None else card_bytes) // MIB // parallel or None

    async def start(self, *_: object) -> object:
        raise NotImplementedError

    def describe(self) -> str:
        return self.name


ENGINE = Sized()


def target(mib: int, *, parallel: int | None = 1, pinned: bool = False, **said: str) -> Target:
    return Target(
        reference=f"docker.io/ai/{mib}:latest",
        server="other",
        options=ServingOptions(
            context_size=mib, parallel=parallel, keep_alive_seconds=float("inf") if pinned else 300.0, **said
        ),
    )


def runner(wanted: Target) -> ManagedRunner:
    return ManagedRunner(RequestQueue(wanted, 16), ENGINE, on_idle=lambda _: None)  # type: ignore[arg-type]


def resident(
    mib: int,
    *,
    state: RunnerState = RunnerState.READY,
    in_use: int = 0,
    age: float = 60,
    pinned: bool = False,
    card: Device = CARD,
    **said: str,
) -> ManagedRunner:
    """Return a runner that has been there for `age` seconds, on a card unless it says otherwise."""
    found = runner(target(mib, pinned=pinned, **said))
    found.need = best_fit(ENGINE, found.target, Room(1 << 40, (FreeCard(card, card.total_bytes),)))
    assert found.need is not None
    found.state, found.in_use = state, in_use
    found.ready_since = found.idle_since = time.monotonic() - age
    found.last_used = time.time() - age
    if state is RunnerState.STARTING:
        found.ready_since = found.idle_since = float("inf")
    return found


def plan(
    wanted: Target,
    others: Sequence[ManagedRunner] = (),
    devices: Sequence[Device] = (CARD,),
    *,
    ram_mib: int = 1_000_000,
    asked_at: float | None = None,
) -> Plan:
    """Return what is planned where the driver has counted what the others hold, so far as they were ready."""
    asked_at = time.monotonic() if asked_at is None else asked_at
    known = [other.held for other in others if other.held.since <= asked_at]
    seen = [
        replace(device, free_bytes=device.free_bytes - sum(use.on(device.name) for use in known)) for device in devices
    ]
    eviction = Eviction(Budget(ram_mib * MIB), Limits())
    return eviction.plan(runner(wanted), others, Reading(seen, asked_at))


def on_cards(need: MemoryNeed | None) -> dict[str, int]:
    """Return what is counted of each card, in MiB."""
    assert need is not None
    return {name: (size - SPARE_BYTES) // MIB for name, size in need.cards.items()}


def test_what_fits_whole_goes_onto_the_card_with_the_most_room() -> None:
    found = plan(target(5_000), devices=[OTHER, CARD]).need

    assert on_cards(found) == {"Vulkan0": 5_000}
    assert found is not None and found.placement is not None
    assert (found.is_split, found.placement.is_divided) == (False, False)
    assert found.memory.total_bytes == HOST_MIB * MIB


@pytest.mark.parametrize(
    ("mib", "slots", "card_mib"), [(2_000, 4, 8_000), (3_000, 2, 6_000), (9_000, 1, 9_000), (9_900, 4, None)]
)
def test_whole_on_a_card_with_fewer_slots_goes_before_split_with_more(
    mib: int, slots: int, card_mib: int | None
) -> None:
    found = plan(target(mib, parallel=None)).need

    assert found is not None
    assert (found.parallel, found.is_split) == (slots, card_mib is None)
    assert card_mib is None or on_cards(found) == {"Vulkan0": card_mib}


def test_what_no_card_holds_alone_is_divided_among_those_of_a_kind() -> None:
    cuda = Device("CUDA0", "the same card by another driver", 20_000 * MIB, 9_000 * MIB)

    found = plan(target(14_000), devices=[CARD, OTHER, cuda]).need

    assert found is not None and found.placement is not None
    assert [share.device.name for share in found.placement.shares] == ["Vulkan0", "Vulkan1"]
    assert (found.is_split, found.placement.is_divided) == (False, True)


def test_of_what_fits_in_part_the_engine_divides_what_is_left() -> None:
    busy = resident(6_000, in_use=1)

    found = plan(target(8_000), [busy]).need

    assert found is not None and found.placement is not None
    (share,) = found.placement.shares
    assert (found.is_split, found.placement.is_divided) == (True, True)
    assert share.reserved_bytes == (10_000 - 6_000) * MIB - SPARE_BYTES
    assert found.memory.device_bytes == 3_200 * MIB
    assert found.memory.total_bytes == (8_000 - 3_200 + HOST_MIB) * MIB
    assert found.notice("ai/x") == (
        "model 'ai/x' is computed in part by the processor: 3.36 GB of its 8.39 GB fit on Vulkan0"
    )


def test_an_idle_model_goes_before_one_is_split_and_those_that_are_of_no_use_stay() -> None:
    """The one in RAM was idle for the longest time, and holds nothing of the card."""
    in_ram = resident(5_000, age=900, device="cpu")
    small, large, recent = resident(1_000, age=300), resident(4_000, age=200), resident(4_000, age=100)

    found = plan(target(5_000), [recent, in_ram, small, large])

    assert found.need is None
    assert found.victims == [small, large]
    assert on_cards(found.claim) == {"Vulkan0": 5_000}


def test_idle_models_go_for_one_that_no_card_holds_whole_either() -> None:
    idle = resident(9_000)

    found = plan(target(15_000), [idle])

    assert (found.need, found.victims) == (None, [idle])
    assert found.claim is not None and found.claim.is_split


@pytest.mark.parametrize("stays", [{"in_use": 1}, {"pinned": True}], ids=["one in use", "one that is pinned"])
def test_no_other_goes_for_what_can_be_split(stays: dict[str, int]) -> None:
    found = plan(target(8_000), [resident(6_000, **stays)])  # type: ignore[arg-type]

    assert (found.victims, found.claim) == ((), None)
    assert found.need is not None and found.need.is_split


def test_a_model_whose_answer_has_just_ended_counts_as_busy_for_a_moment(monkeypatch: pytest.MonkeyPatch) -> None:
    now = time.monotonic()
    monkeypatch.setattr(time, "monotonic", lambda: now)  # the moment is of 50 ms

    found = plan(target(8_000), [resident(6_000, age=0.01)])

    assert (found.need, found.claim) == (None, None)
    assert found.wait_seconds <= Limits().linger_seconds


def test_one_that_requires_a_card_waits_for_the_window_of_a_busy_one_and_then_it_goes() -> None:
    young, old = resident(6_000, in_use=1, age=0), resident(6_000, in_use=1, age=60)

    waits = plan(target(8_000, gpu="required"), [young])

    assert (waits.need, waits.claim) == (None, None)
    assert 0 < waits.wait_seconds <= Limits().window_seconds
    wanting = runner(target(8_000, gpu="required"))
    wanting.waits_since = old.ready_since
    seen = replace(CARD, free_bytes=CARD.free_bytes - old.held.on("Vulkan0"))
    goes = Eviction(Budget(1 << 50), Limits()).plan(wanting, [old], Reading([seen], time.monotonic()))
    assert goes.victims == [old]


def test_one_that_requires_a_card_and_never_fits_is_refused_with_the_numbers_of_the_card() -> None:
    with pytest.raises(InsufficientMemoryError) as caught:
        plan(target(12_000, gpu="required"), [resident(5_000)])

    assert caught.value.message == (
        "model 'docker.io/ai/12000:latest' with context_size 12000 needs 12.72 GB on Vulkan0 (llvmpipe), "
        "and 10.49 GB of its 10.49 GB are free"
    )
    assert caught.value.remedy == "A context_size of 9872 would fit. Set it, or unload others: dmrc ps"


def test_what_other_programs_hold_is_not_free_and_nobody_goes_for_it() -> None:
    seen = replace(CARD, free_bytes=4_000 * MIB)

    found = plan(target(6_000), devices=[seen]).need

    assert found is not None and found.is_split
    with pytest.raises(InsufficientMemoryError, match=r"on Vulkan0 \(llvmpipe\), and 4\.19 GB of its 10\.49 GB are"):
        plan(target(6_000, gpu="required"), devices=[seen])


def test_a_card_serves_where_ram_is_scarce() -> None:
    assert on_cards(plan(target(8_000), ram_mib=200).need) == {"Vulkan0": 8_000}


def test_where_ram_is_scarce_for_the_rest_of_a_split_model_the_refusal_says_so() -> None:
    with pytest.raises(
        InsufficientMemoryError, match=r"needs 3\.68 GB of RAM beside 8\.34 GB on Vulkan0, and 2\.10 GB"
    ):
        plan(target(11_360), devices=[replace(CARD, free_bytes=8_200 * MIB)], ram_mib=2_000)


@pytest.mark.parametrize("gpu", ["auto", "required"])
def test_two_loads_at_once_are_never_both_given_a_card_that_holds_one(gpu: str) -> None:
    """The driver was asked before the first one had taken anything, and still calls everything free."""
    loading = resident(6_000, state=RunnerState.STARTING)

    found = plan(target(6_000, gpu=gpu), [loading])

    assert (found.need, found.claim, found.victims) == (None, None, ())


def test_what_became_ready_after_the_driver_was_asked_is_taken_off_too() -> None:
    asked_at = time.monotonic() - 5
    ready = resident(6_000, in_use=1, age=1)

    assert on_cards(plan(target(3_000), [ready], asked_at=asked_at).need) == {"Vulkan0": 3_000}
    found = plan(target(6_000), [ready], asked_at=asked_at).need
    assert found is not None and found.is_split


def test_a_driver_that_calls_all_free_whoever_uses_it_is_not_believed() -> None:
    """llvmpipe, and cards that are a part of the processor."""
    use = resident(6_000, in_use=1).held

    assert free_card(CARD, time.monotonic(), [use], []).free_bytes == 4_000 * MIB - SPARE_BYTES
    assert free_card(CARD, time.monotonic(), [], [use]).free_bytes == 10_000 * MIB


def test_memory_of_a_card_that_is_given_up_for_one_is_no_others() -> None:
    leaving, claimer = resident(9_000, state=RunnerState.DRAINING, in_use=1), runner(target(9_000))
    claimer.claim = leaving.need

    found = plan(target(3_000), [leaving, claimer])

    assert (found.need, found.claim) == (None, None)
    assert on_cards(plan(target(500), [leaving, claimer]).need) == {"Vulkan0": 500}


@pytest.mark.parametrize(
    ("device", "expected"),
    [("cpu", {}), ("Vulkan1", {"Vulkan1": 5_000}), ("vulkan1", {"Vulkan1": 5_000}), ("auto", {"Vulkan0": 5_000})],
)
def test_the_project_chooses_the_card(device: str, expected: dict[str, int]) -> None:
    found = plan(target(5_000, device=device), devices=[CARD, OTHER]).need

    assert on_cards(found) == expected
    assert found is not None and not found.is_split


def test_a_card_that_is_not_there_is_the_callers_fault_and_those_that_are_there_are_named() -> None:
    with pytest.raises(InputError) as caught:
        plan(target(5_000, device="CUDA0"), devices=[CARD, OTHER])

    assert str(caught.value) == (
        "model 'docker.io/ai/5000:latest' asks for device 'CUDA0', and engine llama.cpp has Vulkan0 (llvmpipe), "
        "10.49 GB, Vulkan1 (llvmpipe), 6.29 GB. Name one of these, or auto, or cpu"
    )
    assert caught.value.http_status == 400


@pytest.mark.parametrize("said", [{"device": "CUDA0"}, {"gpu": "required"}])
def test_what_asks_for_a_card_is_refused_where_there_is_none(said: dict[str, str]) -> None:
    with pytest.raises(UnsupportedError, match="finds no graphics card"):
        plan(target(5_000, **said), devices=[])


@pytest.mark.parametrize("is_whole", [False, True], ids=["no flags", "-ngl all"])
def test_without_cards_nothing_is_said_of_them(monkeypatch: pytest.MonkeyPatch, is_whole: bool) -> None:
    monkeypatch.setattr(Sized, "device_wish", lambda *_: DeviceWish(is_whole=is_whole))

    found = plan(target(5_000), devices=[]).need

    assert found is not None
    assert (found.placement, found.is_split, found.notice("ai/x")) == (None, False, None)


def test_where_no_part_fits_the_processor_computes_it_and_the_notice_says_so() -> None:
    found = plan(target(5_000), [resident(9_700, in_use=1)]).need

    assert found is not None and found.placement is not None
    assert (found.placement.shares, found.is_split) == ((), True)
    assert found.notice("ai/x") == (
        "model 'ai/x' is computed by the processor: no graphics card has room for a part of its 5.24 GB"
    )


@pytest.mark.parametrize(
    ("mib", "taken", "processor", "card_mib"),
    [
        (5_000, None, "100% GPU", 5_000),
        (5_000, {"Vulkan0": 4_900 * MIB, "CPU": 7}, "100% GPU", 4_900),
        (20_000, None, "60%/40% CPU/GPU", 8_000),
        (20_000, {"Vulkan0": 9_600 * MIB}, "52%/48% CPU/GPU", 9_600),
    ],
)
def test_a_runner_says_what_computes_it_as_its_engine_reported(
    mib: int, taken: dict[str, int] | None, processor: str, card_mib: int
) -> None:
    found = resident(mib)
    assert found.need is not None
    found.need = found.need.corrected(taken or {})

    shown = describe_runner(found)

    assert (shown["processor"], shown["memory_device_bytes"]) == (processor, card_mib * MIB)
    assert taken is None or shown["devices"] == [
        {"name": "Vulkan0", "description": "llvmpipe", "memory_bytes": card_mib * MIB}
    ]
    assert found.held.on("Vulkan0") == (card_mib * MIB + SPARE_BYTES if taken or mib < 9_000 else CARD.total_bytes)
    assert (shown["notice"] is None) == (processor == "100% GPU")


SPARE_MIB = SPARE_BYTES // MIB
METAL = replace(INTEGRATED, name="MTL0", maps_weights=True)


@pytest.mark.parametrize("card", [INTEGRATED, METAL], ids=lambda card: card.name)
@pytest.mark.parametrize(("missing_mib", "fits"), [(0, True), (1, False)])
def test_what_is_on_a_card_that_shares_the_ram_must_fit_into_both(card: Device, missing_mib: int, fits: bool) -> None:
    ram_mib = 5_000 + SPARE_MIB + HOST_MIB - missing_mib

    if fits:
        found = plan(target(5_000), devices=[card], ram_mib=ram_mib).need
        assert on_cards(found) == {card.name: 5_000}
        assert found is not None and found.memory.total_bytes == HOST_MIB * MIB
    else:
        with pytest.raises(InsufficientMemoryError, match=f"needs .* of RAM with 5.24 GB on {card.name}, and 5.48 GB"):
            plan(target(5_000), devices=[card], ram_mib=ram_mib)


def test_the_ram_of_a_model_that_still_loads_onto_such_a_card_is_promised_to_no_other() -> None:
    """Neither onto the card, which has room for both, nor into RAM."""
    loading = resident(5_000, state=RunnerState.STARTING, card=INTEGRATED)

    for device in ("auto", "cpu"):
        waits = plan(target(4_000, device=device), [loading], [INTEGRATED], ram_mib=8_000)
        assert (waits.need, waits.victims) == (None, ())
    assert plan(target(4_000), [loading], [INTEGRATED], ram_mib=10_000).need is not None


def test_an_idle_model_on_such_a_card_goes_for_one_that_wants_ram() -> None:
    idle = resident(5_000, card=INTEGRATED)

    assert plan(target(7_000, device="cpu"), [idle], [INTEGRATED], ram_mib=9_000).victims == [idle]


@pytest.mark.parametrize(("card", "left_mib"), [(INTEGRATED, 3_000), (METAL, 3_000 - 5_000 - SPARE_MIB)])
def test_what_is_loaded_is_taken_off_once(card: Device, left_mib: int) -> None:
    """The system has taken off what a driver holds, and not the weights that are mapped from a file."""
    budget = Budget(system_available=lambda: (3_000 + HOST_MIB) * MIB)
    held = resident(5_000, card=card).held

    assert budget.available([held]) == left_mib * MIB
    returning_mib = 5_000 + SPARE_MIB if card is INTEGRATED else 0
    assert budget.available([], [held]) == (3_000 + HOST_MIB + returning_mib) * MIB
    loading = resident(5_000, state=RunnerState.STARTING, card=card).held
    assert budget.available([loading]) == (3_000 - 5_000 - SPARE_MIB) * MIB
    assert Budget(limit_bytes=9_000 * MIB).available([held]) == (9_000 - 5_000 - SPARE_MIB - HOST_MIB) * MIB


def test_a_model_that_such_a_card_holds_in_part_takes_ram_for_all_of_it() -> None:
    """As large as what is reserved of the card is, it is what of the model is there that RAM has."""
    found = plan(target(20_000), devices=[INTEGRATED], ram_mib=30_000).need

    assert found is not None and found.is_split
    assert found.ram_bytes == (20_000 + HOST_MIB + SPARE_MIB) * MIB


def test_such_a_card_is_used_where_there_is_no_other_or_the_project_names_it() -> None:
    devices = [replace(INTEGRATED, name="Vulkan1"), replace(CARD, total_bytes=6_000 * MIB, free_bytes=6_000 * MIB)]

    assert on_cards(plan(target(5_000), devices=devices).need) == {"Vulkan0": 5_000}
    assert on_cards(plan(target(5_000, device="Vulkan1"), devices=devices).need) == {"Vulkan1": 5_000}
    assert on_cards(plan(target(5_000), devices=devices[:1]).need) == {"Vulkan1": 5_000}
    assert describe_runner(resident(5_000, card=INTEGRATED))["processor"] == "100% GPU"


def test_ram_that_is_given_up_for_one_on_such_a_card_is_no_others() -> None:
    leaving, claimer = resident(3_000, state=RunnerState.DRAINING, in_use=1, card=INTEGRATED), runner(target(9_000))
    claimer.claim = resident(9_000, card=INTEGRATED).need

    found = plan(target(5_000, device="cpu"), [leaving, claimer], [INTEGRATED], ram_mib=12_000)

    assert (found.need, found.claim) == (None, None)
    assert plan(target(2_000, device="cpu"), [leaving, claimer], [INTEGRATED], ram_mib=12_000).need is not None


def test_prompts_get_what_a_model_on_such_a_card_leaves_of_the_ram_and_give_it_back(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(Sized, "keeps_prompts", lambda *_: True)
    taken_mib = 5_000 + SPARE_MIB + HOST_MIB

    first = plan(target(5_000), devices=[INTEGRATED], ram_mib=taken_mib + 3_000).need

    assert first is not None and first.memory.prompt_cache_bytes == 1_500 * MIB
    holder = resident(5_000, card=INTEGRATED)
    holder.need = first
    assert holder.held.estimated_bytes == taken_mib * MIB
    beside = plan(target(1_000), [holder], [INTEGRATED], ram_mib=taken_mib + 2_000)
    assert (beside.need is not None, beside.givers) == (True, [holder])
    holder.in_use = 1
    wanted = target(2_000 - HOST_MIB, device="cpu")
    assert plan(wanted, [holder], [INTEGRATED], ram_mib=taken_mib + 2_000).givers == [holder]
    with pytest.raises(InsufficientMemoryError):
        holder.target = replace(holder.target, options=replace(holder.target.options, keep_alive_seconds=math.inf))
        plan(wanted, [holder], [INTEGRATED], ram_mib=taken_mib + 1_999)
