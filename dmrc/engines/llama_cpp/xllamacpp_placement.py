"""Where the child with xllamacpp computes: what llama.cpp's `--device` and `--fit-target` are there."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import xllamacpp

_ALL_LAYERS = -2
_NOTHING_OF_IT_MIB = 1 << 30


def choose_devices(params: xllamacpp.CommonParams, placement: dict[str, Any] | None) -> bool:
    """Say where the model is computed, as `offload.placement_json` tells it; return whether a card has a part in it.

    One card is `--main-gpu` by its place in llama.cpp's own list, since the wheel has no `--device`.
    Source: llama_prepare_model_devices in https://github.com/ggml-org/llama.cpp/blob/master/src/llama.cpp
    """
    import xllamacpp

    cards = [str(card["name"]) for card in usable_cards()]
    if placement is None:
        params.fit_params = bool(cards)  # without one it costs a second look at the file and changes nothing
        return bool(cards)
    names, left_mib = placement["devices"], placement["left_mib"]
    params.fit_params = left_mib is not None
    if len(names) < 2:
        params.split_mode = xllamacpp.llama_split_mode.LLAMA_SPLIT_MODE_NONE
        params.main_gpu = cards.index(names[0]) if names else -1
    if not names:
        params.mmproj_use_gpu = False
        return False
    if left_mib is None:
        params.n_gpu_layers = _ALL_LAYERS
    else:
        left = dict(zip(names, left_mib, strict=True))
        used = names if len(names) == 1 else cards
        params.fit_params_target = [left.get(name, _NOTHING_OF_IT_MIB) << 20 for name in used]
    params.verbosity = placement["verbosity"]
    return True


def usable_cards() -> list[dict[str, Any]]:
    """Return what xllamacpp says of the cards that it can be told to use, in llama.cpp's order.

    Those that are a part of the processor only where there are no others: llama.cpp takes the others by itself, and
    the wheel has no way to say otherwise.
    """
    import xllamacpp

    devices = xllamacpp.get_device_info()
    own = [device for device in devices if str(device["type"]).endswith("_GPU")]
    return own or [device for device in devices if str(device["type"]).endswith("_IGPU")]
