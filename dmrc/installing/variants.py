"""Which builds of xllamacpp's own index are for this machine, the best one first."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

from dmrc.engines.cards import Card, in_words, worth_using
from dmrc.errors import BuildError

Kind = Literal["auto", "cuda", "vulkan", "rocm", "cpu"]
"""What a person asks for."""

KINDS: tuple[Kind, ...] = get_args(Kind)

_CUDA = (("cu132", "13.2", 595), ("cu128", "12.8", 570))
"""Index, version of CUDA, and the least driver whose compiler takes that version's PTX, which server cards need.

Source: table 3 of https://docs.nvidia.com/cuda/cuda-toolkit-release-notes/, and the wheels' own README.
"""
_ROCM = (("rocm-7.2.4", 7), ("rocm-6.4.1", 6))
"""Index, and the version of ROCm whose libraries the build looks for; another one's have other names."""

_ROCM_VERSION = Path("/opt/rocm/.info/version")


@dataclass(frozen=True, slots=True)
class Variant:
    """A build that may be for this machine."""

    name: str
    """What its index is called: `cu128`."""
    why: str
    """Why it is for this machine, for people."""


def variants(kind: Kind, found: Sequence[Card], rocm: int | None) -> list[Variant]:
    """Return what to try, the best first: none where `auto` finds no card that is faster than the processor.

    `found` are the cards that the machine shows, `rocm` the major version of ROCm that is installed.

    Raises:
        BuildError: The machine has no card for the kind, or an old driver.
    """
    match kind:
        case "cuda":
            return _cuda(found)
        case "rocm":
            return _rocm(found, rocm)
        case "vulkan":
            return [Variant("vulkan", in_words(found) or "it was asked for")]
        case "cpu":
            return [Variant("cpu", "it was asked for")]
    return list(_auto(worth_using(found), rocm))


def rocm_version(path: Path = _ROCM_VERSION) -> int | None:
    """Return the major version of ROCm on this machine; None where there is none, or elsewhere."""
    try:
        match = re.match(r"(\d+)\.", path.read_text())
    except OSError:
        return None
    return int(match[1]) if match else None


def _auto(found: Sequence[Card], rocm: int | None) -> Iterator[Variant]:
    """Yield CUDA's, the newest first, then ROCm's, then Vulkan's: each where it can be expected to work."""
    if any(card.maker == "NVIDIA" for card in found):
        yield from _for_driver(found)
    if rocm in [major for _, major in _ROCM] and any(card.maker == "AMD" for card in found):
        yield from _rocm(found, rocm)
    if found:
        yield Variant("vulkan", in_words(found))


def _cuda(found: Sequence[Card]) -> list[Variant]:
    nvidia = [card for card in found if card.maker == "NVIDIA"]
    if not nvidia:
        raise BuildError("this machine shows no card of NVIDIA", remedy="See: dmrc doctor")
    if fitting := list(_for_driver(nvidia)):
        return fitting
    *_, (_, version, least) = _CUDA
    raise BuildError(
        f"{in_words(nvidia)}: the oldest build is for CUDA {version}, and wants driver {least} or newer",
        remedy="Install a newer driver, or try: dmrc engine install vulkan",
    )


def _for_driver(found: Sequence[Card]) -> Iterator[Variant]:
    """Yield the builds for CUDA that the driver can take; where it does not tell its version, the least demanding."""
    nvidia = [card for card in found if card.maker == "NVIDIA"]
    drivers = [int(match[1]) for card in nvidia if (match := re.match(r"(\d+)\.", card.driver or ""))]
    known = min(drivers, default=_CUDA[-1][2])
    for name, version, least in _CUDA:
        if known >= least:
            yield Variant(name, f"{in_words(nvidia)}: it takes CUDA {version}")


def _rocm(found: Sequence[Card], rocm: int | None) -> list[Variant]:
    amd = [card for card in found if card.maker == "AMD"]
    if not amd:
        raise BuildError("this machine shows no card of AMD", remedy="See: dmrc doctor")
    if rocm not in (None, *(major for _, major in _ROCM)):
        raise BuildError(f"there is no build for ROCm {rocm}", remedy="Try: dmrc engine install vulkan")
    return [
        Variant(name, f"{in_words(amd)}, with ROCm {'of an unknown version' if rocm is None else rocm}")
        for name, major in _ROCM
        if rocm in (None, major)
    ]
