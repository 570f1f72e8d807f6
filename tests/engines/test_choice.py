"""Which engine serves a model."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from dmrc.engines.choice import engine_for
from dmrc.errors import InputError


@pytest.fixture
def engines() -> dict[str, Any]:
    """Engines, of which one is not installed."""
    loads = {
        "container": {"gguf", "safetensors"},
        "absent": {"safetensors"},
        "directories": {"safetensors"},
        "upstream": set[str](),
        "other": {"gguf"},
        "llama.cpp": {"gguf"},
    }
    told = {"absent": "not installed; pip install absent"}
    return {
        name: SimpleNamespace(
            name=name,
            formats=frozenset(formats),
            is_only_by_name=name == "container",
            describe=lambda name=name: told.get(name, name),
        )
        for name, formats in loads.items()
    }


@pytest.mark.parametrize(
    ("wanted", "model_format", "chosen"),
    [
        (None, "gguf", "llama.cpp"),
        (None, "safetensors", "directories"),
        ("absent", "safetensors", "absent"),
        ("container", "safetensors", "container"),
        ("container", "gguf", "container"),
        ("other", "gguf", "other"),
    ],
)
def test_the_named_engine_serves_it_or_the_one_for_its_format(
    engines: dict[str, Any], wanted: str | None, model_format: str, chosen: str
) -> None:
    assert engine_for(engines, wanted, model_format, "x").name == chosen


def test_one_that_is_not_installed_says_so_where_there_is_no_other(engines: dict[str, Any]) -> None:
    del engines["directories"]

    assert engine_for(engines, None, "safetensors", "x").name == "absent"


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
        ("llama.cpp", "safetensors", "which engine 'llama.cpp' does not serve. Name one that does: x-dmrc: {engine: "),
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
