"""Cards of which not all is known: while a model loads, and where an engine does not say what it has."""

from __future__ import annotations

from dataclasses import replace

import pytest

from dmrc.engines.llama_cpp.offload import placement_arguments
from dmrc.engines.placement import Placement
from dmrc.errors import InsufficientMemoryError
from dmrc.project import ServingOptions
from dmrc.scheduler.states import RunnerState
from tests.scheduler.test_cards import CARD, MIB, on_cards, plan, resident, target


def test_no_idle_model_goes_for_one_that_fits_beside_it_once_another_has_loaded() -> None:
    """The driver counts what a load has taken so far, and the whole of it is promised: so much seems to be scarce."""
    loading, idle = resident(3_000, state=RunnerState.STARTING), resident(1_500)
    half_loaded = replace(CARD, free_bytes=CARD.free_bytes - 2_000 * MIB)

    meanwhile = plan(target(4_500, gpu="required"), [loading, idle], [half_loaded])
    loading.state, loading.ready_since = RunnerState.READY, 0.0
    afterwards = plan(target(4_500, gpu="required"), [loading, idle])

    assert (meanwhile.need, list(meanwhile.victims), meanwhile.wait_seconds > 0) == (None, [], True)
    assert on_cards(afterwards.need) == {"Vulkan0": 4_500}


def test_an_idle_model_goes_at_once_for_one_that_would_not_fit_then_either() -> None:
    loading, idle = resident(3_000, state=RunnerState.STARTING), resident(4_000)

    found = plan(target(5_000, gpu="required"), [loading, idle])

    assert list(found.victims) == [idle]


def test_what_does_not_fit_beside_a_pinned_model_is_refused_when_that_has_loaded() -> None:
    with pytest.raises(InsufficientMemoryError, match=r"needs 7\.47 GB on Vulkan0"):
        plan(target(7_000, gpu="required"), [resident(4_000, pinned=True)])


def test_a_project_that_wants_the_processor_has_it_where_the_engine_does_not_list_its_cards() -> None:
    """A driver that hangs once lists none, and llama.cpp would find the card by itself."""
    found = plan(target(1_000, device="cpu"), devices=()).need

    assert found is not None and found.placement == Placement()
    assert placement_arguments(found.placement, ServingOptions(device="cpu"))[:2] == ["--device", "none"]


def test_where_nothing_is_said_and_no_card_is_listed_the_engine_is_told_nothing() -> None:
    found = plan(target(1_000), devices=()).need

    assert found is not None and found.placement is None
