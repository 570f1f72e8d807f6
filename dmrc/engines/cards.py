"""The graphics cards that this machine shows by its files, without any library of theirs and without a child."""

from __future__ import annotations

import os
import re
import sys
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

Maker = Literal["NVIDIA", "AMD", "Intel", "other"]

_ROOT = Path("/")
_MAKERS: dict[str, Maker] = {"10DE": "NVIDIA", "1002": "AMD", "8086": "Intel"}  # Source: https://pci-ids.ucw.cz/
_PROCESSORS_OWN = re.compile(r"0000:00:")  # Intel's own graphics are a function of the processor, on its bus
# Source: NVRM_ID in https://github.com/NVIDIA/open-gpu-kernel-modules/blob/main/kernel-open/nvidia/nv-procfs.c
_NVIDIA_VERSION = re.compile(r"Kernel Module\s+(?:for \S+\s+)?(\d[\d.]*)")
_CHOSEN = ("GGML_VK_VISIBLE_DEVICES",)


@dataclass(frozen=True, slots=True)
class Card:
    """A graphics card, as files of the system tell of it."""

    maker: Maker
    """Who made it; `other` are those of virtual machines and of small computers."""
    name: str | None
    """Its name, `NVIDIA H100 80GB HBM3`; None where no file tells it."""
    driver: str | None
    """Its driver in the kernel: `570.86.15`, or `nouveau`, `amdgpu`, `i915`; None where no file tells it."""
    is_part_of_processor: bool = False
    """Whether it is known to have no memory of its own."""

    def __str__(self) -> str:
        """Return it in words: `NVIDIA RTX 4090, driver 570.86.15`."""
        name = self.name or f"a graphics card of {self.maker if self.maker != 'other' else 'another maker'}"
        return name + (f", driver {self.driver}" if self.driver else "")


def cards(root: Path = _ROOT) -> tuple[Card, ...]:
    """Return the cards; `root` has `dev`, `proc` and `sys` of the machine. It reads a few small files."""
    nvidia = tuple(_nvidia(root))
    rendering = (card for card in _rendering(root) if not (nvidia and card.maker == "NVIDIA"))
    found = (*nvidia, *rendering)
    if (root / "dev/kfd").exists() and all(card.maker != "AMD" for card in found):
        found = (*found, Card("AMD", None, _text(root / "sys/module/amdgpu/version")))
    return found


def in_words(found: Sequence[Card]) -> str:
    """Return cards as a person names them, equal ones together: `2 × NVIDIA RTX 4090, driver 570.86.15`."""
    return "; ".join(f"{count} × {card}" if count > 1 else str(card) for card, count in Counter(found).items())


def worth_using(found: Sequence[Card]) -> list[Card]:
    """Return those on which models run faster than on the processor, as far as their kind tells."""
    return [card for card in found if card.maker != "other" and not card.is_part_of_processor]


def may_have_card(root: Path = _ROOT, environ: Mapping[str, str] = os.environ) -> bool:
    """Return whether it is worth a child to ask an engine for its devices.

    The system may be one whose files are others, or the user may want a device that no driver of the kernel serves:
    Vulkan on the processor.
    """
    return sys.platform != "linux" or any(environ.get(name) for name in _CHOSEN) or bool(cards(root))


def _nvidia(root: Path) -> Iterator[Card]:
    """Yield those of NVIDIA's own driver: as many as there are device files, which is what a container was given."""
    version = _NVIDIA_VERSION.search(_text(root / "proc/driver/nvidia/version") or "")
    driver = version[1] if version else None
    names = dict(_nvidia_names(root))
    for device in sorted((root / "dev").glob("nvidia[0-9]*")):
        yield Card("NVIDIA", names.get(device.name.removeprefix("nvidia")), driver)
    if (root / "dev/dxg").exists() and (root / "usr/lib/wsl/lib/libcuda.so.1").exists():
        yield Card("NVIDIA", None, "of Windows")


def _nvidia_names(root: Path) -> Iterator[tuple[str, str]]:
    """Yield the number of each device file, and the name of its card."""
    for path in (root / "proc/driver/nvidia/gpus").glob("*/information"):
        told = dict(re.findall(r"^([^:\n]+):[ \t]*(.+)$", _text(path) or "", re.MULTILINE))
        if "Model" in told and "Device Minor" in told:
            model = str(told["Model"]).strip()
            yield str(told["Device Minor"]).strip(), model if model.startswith("NVIDIA") else f"NVIDIA {model}"


def _rendering(root: Path) -> Iterator[Card]:
    """Yield what can compute by a device file of the direct rendering manager, with the words of its `uevent`.

    Source: https://docs.kernel.org/gpu/drm-uapi.html#render-nodes
    """
    for device in sorted((root / "dev/dri").glob("renderD*")):
        place = root / "sys/class/drm" / device.name / "device"
        told = dict(re.findall(r"^(\w+)=(.*)$", _text(place / "uevent") or "", re.MULTILINE))
        maker = _MAKERS.get(str(told.get("PCI_ID", "")).partition(":")[0].upper(), "other")
        address = str(told.get("PCI_SLOT_NAME", ""))
        is_part = maker == "Intel" and _PROCESSORS_OWN.match(address) is not None
        yield Card(maker, _text(place / "product_name"), str(told["DRIVER"]) if "DRIVER" in told else None, is_part)


def _text(path: Path) -> str | None:
    """Return what a file says; None where it says nothing, or cannot be read."""
    try:
        return path.read_text(errors="replace").strip() or None
    except OSError:
        return None
