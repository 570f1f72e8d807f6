"""Which of llama.cpp's images fits this machine, and how a container is given its graphics cards."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path

from dmrc.engines.cards import cards

# Source: https://github.com/ggml-org/llama.cpp/blob/master/docs/docker.md
_LLAMA_CPP = "ghcr.io/ggml-org/llama.cpp:server"
_ROOT = Path("/")


@dataclass(frozen=True, slots=True)
class CardAccess:
    """What a container must be given to use the cards."""

    image: str
    """llama.cpp's server for these cards, or for the processor."""
    is_nvidia: bool = False
    """Whether NVIDIA's runtime puts them into the container, as `docker run --gpus all`."""
    devices: tuple[str, ...] = ()
    """Files of devices, as `docker run --device`."""

    @property
    def groups(self) -> Sequence[str]:
        """Return the groups that may use the device files, by number: names may be others in the image."""
        files = (file for name in self.devices for file in _files(Path(name)))
        return sorted({str(file.stat().st_gid) for file in files})


def card_access(runtimes: Collection[str], *, uses_card: bool = True, root: Path = _ROOT) -> CardAccess:
    """Return it for the cards of this machine; `runtimes` are those that `docker info` tells.

    NVIDIA's cards are of use only where its container toolkit is, which brings its drivers' libraries along. Those of
    other makers need none: their libraries are in the image.
    """
    makers = {card.maker for card in cards(root)} if uses_card else set()
    if "NVIDIA" in makers and "nvidia" in runtimes:
        return CardAccess(f"{_LLAMA_CPP}-cuda", is_nvidia=True)
    dri = (str(root / "dev/dri"),) if (root / "dev/dri").exists() else ()
    if "AMD" in makers and (root / "dev/kfd").exists():
        return CardAccess(f"{_LLAMA_CPP}-rocm", devices=(str(root / "dev/kfd"), *dri))
    if makers & {"AMD", "Intel"} and dri:
        return CardAccess(f"{_LLAMA_CPP}-vulkan", devices=dri)
    return CardAccess(_LLAMA_CPP)


def _files(path: Path) -> list[Path]:
    return [file for file in path.iterdir() if not file.is_dir()] if path.is_dir() else [path]
