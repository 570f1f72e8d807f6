"""The memory estimate: by hand, and against what the real child has in use."""

import asyncio
import dataclasses
import re
from collections.abc import Sequence
from pathlib import Path

import pytest

from dmrc.engines.engine import MemoryEstimate
from dmrc.engines.llama_cpp import memory
from dmrc.engines.local_model import LocalModel
from dmrc.gguf import GgufFacts
from dmrc.project import ServingOptions
from tests.engines.child import Child, real_child
from tests.polling import eventually
from tests.synthetic_gguf import Shape, write_model
from tests.tiny_gguf import write_tiny_llama

MIB = 1 << 20


def estimate(facts: GgufFacts, context_size: int, parallel: int, flags: Sequence[str] = ()) -> MemoryEstimate:
    options = ServingOptions(context_size=context_size, runtime_flags=tuple(flags))
    return memory.estimate(LocalModel(path=Path("m.gguf"), facts=facts), options, parallel)


def largest_context(facts: GgufFacts, available: int, parallel: int) -> int | None:
    return memory.largest_context(LocalModel(path=Path("m.gguf"), facts=facts), ServingOptions(), parallel, available)


@pytest.fixture
def facts(tmp_path: Path) -> GgufFacts:
    with write_tiny_llama(tmp_path / "tiny.gguf").open("rb") as stream:
        return GgufFacts.parse(stream, name="tiny")


def test_the_cache_counts_each_head_of_each_block_and_slot(facts: GgufFacts) -> None:
    found = estimate(facts, 512, 3)

    assert (facts.head_counts_kv, facts.key_length, facts.value_length) == ((2, 2), 16, 16)
    assert found.kv_bytes == 512 * 3 * (2 + 2) * (16 + 16) * 2
    assert found.weights_bytes == facts.tensor_bytes
    assert found.total_bytes > found.kv_bytes + found.weights_bytes


@pytest.mark.parametrize(
    ("flags", "share"),
    [
        ((), 1.0),
        (("-ctk", "q8_0", "-ctv", "q8_0"), 34 / 64),
        (("-ctk", "f32"), 1.5),
        (("--cache-type-v=q4_0",), 0.640625),
    ],
)
def test_the_types_of_the_cache_count(facts: GgufFacts, flags: tuple[str, ...], share: float) -> None:
    assert estimate(facts, 1024, 1, flags).kv_bytes == int(estimate(facts, 1024, 1).kv_bytes * share)


def test_blocks_with_a_sliding_window_keep_no_more_than_it_and_a_batch(facts: GgufFacts) -> None:
    """Gemma 3: five blocks of six look back 1,024 tokens, the sixth at everything."""
    gemma = dataclasses.replace(
        facts, architecture="gemma3", head_counts_kv=(1,) * 12, sliding_window=1024, key_length=256, value_length=256
    )
    a_token = 2 * 256 * 2

    found = estimate(gemma, 32768, 2).kv_bytes

    assert found == 2 * a_token * (2 * 32768 + 10 * 1536)
    assert estimate(gemma, 1024, 2).kv_bytes == 2 * a_token * 12 * 1024
    assert estimate(gemma, 32768, 2, ["--swa-full"]).kv_bytes == 2 * a_token * 12 * 32768


@pytest.mark.parametrize(
    ("pattern", "whole"), [("true, false, true", 1), ("2", 1), ("", 3), ("0", 0), ("true, true, true, true", 0)]
)
def test_the_header_says_which_blocks_have_the_window(facts: GgufFacts, pattern: str, whole: int) -> None:
    metadata = {"new.attention.sliding_window_pattern": pattern} if pattern else {}
    model = dataclasses.replace(
        facts, architecture="new", head_counts_kv=(1, 1, 1), sliding_window=256, metadata=metadata
    )

    cells = estimate(model, 8192, 1).kv_bytes // (32 * 2)

    assert cells == whole * 8192 + (3 - whole) * 768


def test_a_text_that_a_chat_model_embeds_costs_the_words_that_could_follow_each_token(facts: GgufFacts) -> None:
    """They were not counted: of a text of 4,096 tokens the engine took 1.6 GB more, and was ended for that."""
    model = dataclasses.replace(facts, vocabulary_size=49_152)
    encoder = dataclasses.replace(model, metadata={"llama.attention.causal": "false"})
    of_chats = ServingOptions(context_size=4096, runtime_flags=("--ubatch-size", "4096"))
    of_texts = dataclasses.replace(of_chats, mode="embedding")

    def compute(facts: GgufFacts, options: ServingOptions) -> int:
        return memory.estimate(LocalModel(path=Path("m.gguf"), facts=facts), options, 1).compute_bytes

    assert compute(model, of_texts) - compute(model, of_chats) == 4096 * 49_152 * 8
    assert compute(encoder, of_texts) == compute(encoder, of_chats)


def test_the_prompt_cache_counts_as_it_was_set(facts: GgufFacts) -> None:
    assert estimate(facts, 512, 1).prompt_cache_bytes == 0
    assert estimate(facts, 512, 1, ["--cache-ram", "64"]).prompt_cache_bytes == 64 * MIB


def test_the_largest_context_is_the_last_that_fits(facts: GgufFacts) -> None:
    model = dataclasses.replace(facts, context_length=None)
    available = 100 * MIB

    largest = largest_context(model, available, 2)

    assert largest is not None and largest % 256 == 0
    assert estimate(model, largest, 2).total_bytes <= available < estimate(model, largest + 256, 2).total_bytes
    assert largest_context(facts, available, 2) == facts.context_length
    assert largest_context(facts, 10 * MIB, 1) is None


@pytest.mark.engine
@pytest.mark.parametrize(
    ("context_size", "parallel", "flags"),
    [
        (1024, 1, ()),
        (1024, 4, ()),
        (8192, 4, ()),
        (1024, 1, ("-fa", "off")),
        (4096, 1, ("-ctk", "q8_0", "-ctv", "q8_0")),
    ],
)
def test_the_estimate_is_within_15_percent_of_the_real_child(
    smollm2: Path, tmp_path: Path, context_size: int, parallel: int, flags: tuple[str, ...]
) -> None:
    with smollm2.open("rb") as stream:
        facts = GgufFacts.parse(stream, name="smollm2")

    async def measure(child: Child) -> int:
        status, _ = await child.post("/v1/completions", {"prompt": [1000] * 520, "max_tokens": 4})
        assert status == 200
        return child.process.resident_bytes()

    resident = real_child(
        tmp_path, measure, gguf=smollm2, context_size=context_size, parallel=parallel, runtime_flags=flags
    )

    assert estimate(facts, context_size, parallel, flags).total_bytes == pytest.approx(resident, rel=0.15)


_NARROW = {"width": 256, "blocks": 2, "inner": 128}


@pytest.mark.engine
@pytest.mark.parametrize(
    ("shape", "context_size", "parallel"),
    [
        (Shape(width=1024, blocks=2, heads=16, heads_kv=4, inner=2816), 1024, 1),
        (Shape(width=896, blocks=2, heads=14, heads_kv=2, inner=4864), 8192, 2),
        (Shape(**_NARROW, heads=8, heads_kv=8, head_width=256), 1024, 1),
        (Shape(**_NARROW, heads=16, heads_kv=2, head_width=256), 1024, 1),
        (Shape(**_NARROW, heads=8, heads_kv=4, head_width=256), 65536, 1),
        (Shape(width=1024, blocks=2, heads=16, heads_kv=4, inner=2816), 2048, 64),
    ],
    ids=["llama", "qwen2", "wide heads", "wide queries", "long context", "many slots"],
)
def test_what_llama_cpp_reserves_to_compute_is_counted(
    tmp_path: Path, shape: Shape, context_size: int, parallel: int
) -> None:
    """Heads that are wider than the model were not: 20 MiB where 4 were counted."""
    path = write_model(tmp_path / "model.gguf", shape)
    with path.open("rb") as stream:
        facts = GgufFacts.parse(stream, name="model")

    async def logged(child: Child) -> str:
        log = child.launch.log  # threads write it, in order; this line comes last
        return await asyncio.to_thread(eventually, lambda: "model loaded" in (text := log.read_text()) and text)

    log = real_child(
        tmp_path, logged, gguf=path, context_size=context_size, parallel=parallel, runtime_flags=("--verbose",)
    )
    (reserved,) = re.findall(r"compute buffer size = +([0-9.]+) MiB", log)

    assert 1.0 <= estimate(facts, context_size, parallel).compute_bytes / (float(reserved) * MIB) <= 1.35
