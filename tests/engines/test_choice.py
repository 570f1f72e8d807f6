"""Which engine serves a model."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from dmrc.engines.choice import engine_for
from dmrc.errors import InputError


@pytest.fixture
def engines() -> dict[str, Any]:
    """Engines as plugins register them: the last one first."""
    loads = {
        "any": {"gguf", "safetensors"},
        "directories": {"safetensors"},
        "upstream": set[str](),
        "other": {"gguf"},
        "llama.cpp": {"gguf"},
    }
    return {name: SimpleNamespace(name=name, formats=frozenset(formats)) for name, formats in loads.items()}


@pytest.mark.parametrize(
    ("wanted", "model_format", "chosen"),
    [
        (None, "gguf", "llama.cpp"),
        (None, "safetensors", "directories"),
        ("any", "safetensors", "any"),
        ("any", "gguf", "any"),
        ("other", "gguf", "other"),
    ],
)
def test_the_named_engine_serves_it_or_the_one_for_its_format(
    engines: dict[str, Any], wanted: str | None, model_format: str, chosen: str
) -> None:
    assert engine_for(engines, wanted, model_format, "x").name == chosen


@pytest.mark.parametrize(
    ("wanted", "model_format", "reason"),
    [
        (
            "other",
            "safetensors",
            "which engine 'other' does not serve. Name one that does: x-dmrc: {engine: directories}",
        ),
        (
            "directories",
            "gguf",
            "which engine 'directories' does not serve. Name one that does: x-dmrc: {engine: llama",
        ),
        (None, "dduf", "which engine 'llama.cpp' does not serve. Use a model in another format"),
        ("upstream", "gguf", "engine 'upstream' serves no model of the store"),
        ("directorys", "gguf", "there is no engine 'directorys' (did you mean 'directories'?)"),
    ],
)
def test_an_engine_that_loads_another_format_is_refused(
    engines: dict[str, Any], wanted: str | None, model_format: str, reason: str
) -> None:
    with pytest.raises(InputError) as caught:
        engine_for(engines, wanted, model_format, "x")

    assert reason in str(caught.value)
