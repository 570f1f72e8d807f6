"""Which builds are tried on a machine, and in which order."""

from pathlib import Path

import pytest

from dmrc.engines.cards import Card
from dmrc.errors import BuildError
from dmrc.installing.variants import Kind, rocm_version, variants


def _nvidia(driver: str | None) -> Card:
    return Card("NVIDIA", "NVIDIA Q1", driver)


AMD = Card("AMD", None, "amdgpu")
ARC = Card("Intel", None, "xe")
PART_OF_PROCESSOR = Card("Intel", None, "i915", is_part_of_processor=True)


@pytest.mark.parametrize(
    ("kind", "found", "rocm", "names"),
    [
        ("auto", [], None, []),
        ("auto", [PART_OF_PROCESSOR], None, []),
        ("auto", [_nvidia("595.45.04")], None, ["cu132", "cu128", "vulkan"]),
        ("auto", [_nvidia("580.65.06")], None, ["cu128", "vulkan"]),
        ("auto", [_nvidia("535.1"), _nvidia("535.1")], None, ["vulkan"]),
        ("auto", [_nvidia("of Windows")], None, ["cu128", "vulkan"]),
        ("auto", [AMD], 7, ["rocm-7.2.4", "vulkan"]),
        ("auto", [AMD], 6, ["rocm-6.4.1", "vulkan"]),
        ("auto", [AMD], 5, ["vulkan"]),
        ("auto", [AMD], None, ["vulkan"]),
        ("auto", [ARC, PART_OF_PROCESSOR], None, ["vulkan"]),
        ("auto", [_nvidia("595.1"), AMD], 7, ["cu132", "cu128", "rocm-7.2.4", "vulkan"]),
        ("cuda", [_nvidia("570.1"), AMD], 7, ["cu128"]),
        ("rocm", [_nvidia("570.1"), AMD], 7, ["rocm-7.2.4"]),
        ("rocm", [AMD], None, ["rocm-7.2.4", "rocm-6.4.1"]),
        ("vulkan", [], None, ["vulkan"]),
        ("cpu", [_nvidia("595.1")], None, ["cpu"]),
    ],
)
def test_the_best_one_for_the_machine_comes_first(
    kind: Kind, found: list[Card], rocm: int | None, names: list[str]
) -> None:
    assert [variant.name for variant in variants(kind, found, rocm)] == names


@pytest.mark.parametrize(
    ("kind", "found", "rocm", "why"),
    [
        ("cuda", [AMD], None, "this machine shows no card of NVIDIA"),
        ("rocm", [_nvidia("570.1")], None, "this machine shows no card of AMD"),
        (
            "cuda",
            [_nvidia("535.1")],
            None,
            "NVIDIA Q1, driver 535.1: the oldest build is for CUDA 12.8, and wants driver 570",
        ),
        ("rocm", [AMD], 5, "there is no build for ROCm 5"),
    ],
)
def test_a_kind_that_cannot_work_is_refused_before_anything_is_fetched(
    kind: Kind, found: list[Card], rocm: int | None, why: str
) -> None:
    with pytest.raises(BuildError, match=why):
        variants(kind, found, rocm)


def test_the_version_of_rocm_is_read_where_it_installs_itself(tmp_path: Path) -> None:
    (file := tmp_path / "version").write_text("6.4.1-83\n")

    assert rocm_version(file) == 6
    assert rocm_version(tmp_path / "nowhere") is None
