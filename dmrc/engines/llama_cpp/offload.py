"""What of a model llama.cpp puts on graphics cards, how it is told so, and what its log says that it did.

Source: load_tensors in https://github.com/ggml-org/llama.cpp/blob/master/src/llama-model.cpp and
https://github.com/ggml-org/llama.cpp/blob/master/common/fit.cpp
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from dmrc.engines.engine import MemoryEstimate
from dmrc.engines.llama_cpp.flags import settings_of
from dmrc.engines.placement import SPARE_BYTES, DeviceWish, Placement
from dmrc.errors import InputError
from dmrc.exchange import JsonValue
from dmrc.gguf import GgufFacts
from dmrc.project import ServingOptions

_MIB = 1 << 20

# Measured with a Vulkan build on llvmpipe: 95 MiB of RAM for the driver, beside what is on the card.
_DRIVER_BYTES = 128 * _MIB

LOAD_NOTES = re.compile(
    r"\S+:\s+(?P<device>[^\s:]+?)\s+\S+\s+buffer size\s*=\s*(?P<mib>[0-9.]+) MiB\s*$"
    r"|clip_ctx: CLIP using (?P<eyes_on>\S+) backend|load_hparams: model size:\s+(?P<eyes_mib>[0-9.]+) MiB"
)
"""Lines about what was put where: `load_tensors:      Vulkan0 model buffer size =    92.10 MiB`, and of a projector."""

LOAD_VERBOSITY = 4
"""llama.cpp's level of messages that has these lines. Source: common_log_get_verbosity in its common/log.cpp."""


@dataclass(frozen=True, slots=True)
class Movable:
    """What of a model can be on cards, in bytes."""

    layers: Sequence[int]
    """Weights, keys and values of each layer, the last one first: llama.cpp begins with the output."""
    beside_bytes: int
    """What comes with the first of them: what is loaded beside the model."""
    table_bytes: int
    """What tokens are looked up in, where the output uses it too: it is then on the card once more."""
    host_bytes: int
    """Buffers in RAM by which the processor and the card hand each other their work."""
    asked: int | None
    """How many layers a flag puts there; None where it leaves that open."""

    def onto(self, on_processor: MemoryEstimate, card_bytes: int) -> MemoryEstimate:
        """Return an estimate with as many layers on cards as fit into so many bytes, or as the flag says.

        A card keeps no other order of weights beside the file's own, and then the processor keeps none either.
        """
        sums = list(itertools.accumulate(self.layers, initial=on_processor.compute_bytes + self.beside_bytes))
        if self.asked is None:
            count = max((count for count, size in enumerate(sums) if size <= card_bytes), default=0)
        else:
            count = min(self.asked, len(self.layers))
        return replace(
            on_processor,
            weights_bytes=on_processor.weights_bytes + (self.table_bytes if count else 0),
            compute_bytes=on_processor.compute_bytes + self.host_bytes,
            base_bytes=on_processor.base_bytes + _DRIVER_BYTES,
            device_bytes=sums[count] if count else 0,
            movable_bytes=sums[-1],
        )


def layers_of(facts: GgufFacts, set_to: Mapping[str, str], caches: Sequence[int]) -> list[int]:
    """Return what each layer takes of a card, the last one first, by the keys and values of each block."""
    of = facts.layer_bytes
    kept = len(caches) if "--cpu-moe" in set_to else int(set_to.get("--n-cpu-moe", 0))
    has_cache = "--no-kv-offload" not in set_to
    blocks = [
        of.get(str(number), 0) + (of.get(f"{number} experts", 0) if number >= kept else 0) + (cache if has_cache else 0)
        for number, cache in enumerate(caches)
    ]
    return [of.get("output", 0) + of.get("head", of.get("input", 0)), *reversed(blocks)]


def asked_layers(set_to: Mapping[str, str]) -> int | None:
    """Return how many layers a flag puts on cards; None where it leaves that open."""
    said = set_to.get("--n-gpu-layers", "auto")
    if said in ("auto", "-1"):
        return None
    return 1 << 31 if said == "all" else int(said)


def device_wish(options: ServingOptions) -> DeviceWish:
    """Return what the project says of cards; see `Engine.device_wish`.

    Raises:
        InputError: What it says contradicts itself.
    """
    set_to = settings_of(options.runtime_flags or ())
    wish = DeviceWish.of(options)
    if "--device" in set_to:
        named = tuple(set_to["--device"].split(","))
        if wish.names is not None:
            raise InputError("the runtime flag '--device' and x-dmrc: {device: …} are the same", remedy="Say it once")
        wish = replace(wish, names=() if named == ("none",) else named)
    layers = asked_layers(set_to)
    if layers == 0:
        wish = replace(wish, names=())
    # llama.cpp divides nothing by itself where one of these is set.
    is_set = layers is not None or set_to.get("--fit") == "off" or "--cpu-moe" in set_to or "--n-cpu-moe" in set_to
    mode = set_to.get("--split-mode")
    main = int(set_to.get("--main-gpu", 0))
    if mode == "none":
        ratios: tuple[float, ...] | None = (0.0,) * main + (1.0,)
    elif "--tensor-split" in set_to:
        ratios = tuple(float(share) for share in set_to["--tensor-split"].split(","))
    else:
        is_spread = mode is not None or "--main-gpu" in set_to or "," in set_to.get("--device", "")
        ratios = () if is_spread else None
    return replace(wish, is_whole=wish.is_whole or is_set or ratios is not None, ratios=ratios)


def placement_arguments(placement: Placement | None, options: ServingOptions) -> list[str]:
    """Return the arguments of llama-server for a placement; none where the project's own flags say how to share it."""
    if placement is None or device_wish(options).ratios is not None:
        return []
    if not placement.shares:
        return ["--device", "none", "--fit", "off", "--no-mmproj-offload"]
    names = ",".join(share.device.name for share in placement.shares)
    how = ["--n-gpu-layers", "all", "--fit", "off"]
    if placement.is_divided:
        how = ["--fit", "on", "--fit-target", ",".join(str(mib) for mib in left_mib(placement))]
    return ["--device", names, *how, "--verbosity", str(LOAD_VERBOSITY)]


def placement_json(placement: Placement | None, options: ServingOptions) -> JsonValue:
    """Return what the child with xllamacpp is told of a placement: see `placement_arguments`."""
    if placement is None or device_wish(options).ratios is not None:
        return None
    names: list[JsonValue] = [share.device.name for share in placement.shares]
    left: JsonValue = [*left_mib(placement)] if placement.is_divided else None
    return {"devices": names, "left_mib": left, "verbosity": LOAD_VERBOSITY}


def left_mib(placement: Placement) -> list[int]:
    """Return what llama.cpp is to leave free of each card: what is free and not reserved, and what is not counted."""
    return [
        -(-max(0, share.device.free_bytes - share.reserved_bytes + SPARE_BYTES) // _MIB) for share in placement.shares
    ]


def device_use(lines: Sequence[str]) -> dict[str, int]:
    """Return what the log of a start says that each kind of buffer takes, in bytes by name: `Vulkan0`, `CPU_Mapped`."""
    taken: dict[str, float] = {}
    eyes_on = "CPU"
    for found in filter(None, map(LOAD_NOTES.search, lines)):
        eyes_on = found["eyes_on"] or eyes_on
        device, mib = found["device"] or eyes_on, float(found["mib"] or found["eyes_mib"] or 0)
        taken[device] = taken.get(device, 0) + mib
    return {device: round(mib * _MIB) for device, mib in taken.items()}
