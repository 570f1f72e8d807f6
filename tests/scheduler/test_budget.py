"""Whether one more runner fits, and what the refusal says. Numbers only, nothing runs."""

from __future__ import annotations

from pathlib import Path

import pytest

from dmrc.engines.llama_cpp.engine import LlamaCpp
from dmrc.engines.local_model import LocalModel
from dmrc.gguf import GgufFacts
from dmrc.project import DEFAULT_CONTEXT_SIZE, ServingOptions
from dmrc.scheduler.budget import Budget, MemoryUse
from dmrc.scheduler.fitting import best_fit, needs
from dmrc.scheduler.room import Room
from dmrc.scheduler.target import Target

GIB = 1 << 30

# Llama 3.1 8B at Q4_K_M: 128 KiB of cache a token.
FACTS = GgufFacts(
    architecture="llama",
    name="Llama",
    quantization="Q4_K_M",
    parameters=8_030_000_000,
    tensor_bytes=4_912_898_304,
    tensor_count=292,
    context_length=131072,
    block_count=32,
    embedding_length=4096,
    head_count=32,
    head_counts_kv=(8,) * 32,
    key_length=128,
    value_length=128,
    sliding_window=None,
    vocabulary_size=128256,
    feed_forward_length=14336,
    pooling_type=None,
    chat_template=None,
    split_count=1,
    metadata={},
)


LLAMA_CPP = LlamaCpp(None)


class OneAtATime(LlamaCpp):
    largest_parallel = 1


def target(context_size: int | None = 8192, parallel: int | None = None, flags: tuple[str, ...] = ()) -> Target:
    return Target(
        reference="docker.io/ai/llama3.1:8B-Q4_K_M",
        server="llama-server",
        digest="sha256:" + "2" * 64,
        model=LocalModel(path=Path("model.gguf"), facts=FACTS),
        options=ServingOptions(context_size=context_size, parallel=parallel, runtime_flags=flags),
    )


@pytest.mark.parametrize(("free_gib", "slots"), [(64, 4), (8, 2), (6.5, 1), (5, None)])
def test_the_most_slots_that_fit_are_chosen(free_gib: float, slots: int | None) -> None:
    need = best_fit(LLAMA_CPP, target(), Room(round(free_gib * GIB)))

    assert (need.parallel if need else None) == slots


def test_a_number_of_slots_that_was_asked_for_is_not_lowered() -> None:
    assert best_fit(LLAMA_CPP, target(parallel=4), Room(8 * GIB)) is None
    assert [need.parallel for need in needs(LLAMA_CPP, target(parallel=4))] == [4]
    assert [need.parallel for need in needs(LLAMA_CPP, target(flags=("-np", "3")))] == [3]
    assert [need.parallel for need in needs(LLAMA_CPP, target(parallel=2, flags=("-np", "3")))] == [2]


def test_an_engine_that_serves_one_at_a_time_gets_one_slot() -> None:
    assert [need.parallel for need in needs(OneAtATime(None), target())] == [1]
    assert [need.parallel for need in needs(OneAtATime(None), target(parallel=4))] == [1]


def test_without_a_context_size_the_default_is_counted_and_not_the_trained_maximum() -> None:
    assert needs(LLAMA_CPP, target(None)) == needs(LLAMA_CPP, target(DEFAULT_CONTEXT_SIZE))


def test_of_a_limit_everything_held_is_taken_off() -> None:
    budget = Budget(limit_bytes=10 * GIB, system_available=lambda: 0)

    assert budget.available([]) == 10 * GIB
    assert budget.available([MemoryUse(6 * GIB, 1 * GIB), MemoryUse(1 * GIB, 0)]) == 3 * GIB
    assert budget.available([MemoryUse(1 * GIB, 0)], going=[MemoryUse(6 * GIB, 1 * GIB)]) == 9 * GIB


def test_of_the_systems_memory_only_what_it_does_not_know_yet_is_taken_off() -> None:
    """A runner of 6 GiB that holds 2 has 4 in its mapped file, which the system goes on calling available."""
    budget = Budget(system_available=lambda: 8 * GIB)

    assert budget.available([MemoryUse(6 * GIB, 2 * GIB)]) == 4 * GIB
    assert budget.available([MemoryUse(1 * GIB, 2 * GIB)]) == 8 * GIB
    assert budget.available([], going=[MemoryUse(6 * GIB, 2 * GIB)]) == 10 * GIB


def test_the_refusal_says_what_it_needs_what_there_is_and_what_would_fit() -> None:
    error = Budget().refuse(LLAMA_CPP, target(65536), Room(7 * GIB))

    assert "'docker.io/ai/llama3.1:8B-Q4_K_M' with context_size 65536 needs 13." in error.message
    assert "weights 4.91 GB, context 8.59 GB" in error.message
    assert "and 7.52 GB is free" in error.message
    assert error.http_status == 503


@pytest.mark.parametrize("flags", [(), ("-ctk", "q8_0", "-ctv", "q8_0", "-fa", "on")])
def test_the_context_that_the_refusal_offers_does_fit(flags: tuple[str, ...]) -> None:
    budget = Budget()
    error = budget.refuse(LLAMA_CPP, target(131072, flags=flags), Room(7 * GIB))
    assert error.remedy is not None
    offered = int(error.remedy.split("A context_size of ")[1].split()[0])

    assert best_fit(LLAMA_CPP, target(offered, flags=flags), Room(7 * GIB))
    assert not best_fit(LLAMA_CPP, target(offered + 256, flags=flags), Room(7 * GIB))


def test_where_not_even_the_weights_fit_no_context_is_offered() -> None:
    error = Budget().refuse(LLAMA_CPP, target(), Room(2 * GIB))

    assert error.remedy is not None
    assert "context_size" not in error.remedy
    assert "Choose a smaller model" in error.remedy


def test_a_negative_rest_is_shown_as_none() -> None:
    assert "and 0 B is free" in Budget().refuse(LLAMA_CPP, target(), Room(-GIB)).message
