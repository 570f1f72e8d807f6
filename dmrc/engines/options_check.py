"""The options that only few engines know, which every other one refuses."""

from __future__ import annotations

from collections.abc import Sequence

from dmrc.engines.engine import Engine
from dmrc.errors import UnsupportedError
from dmrc.project import OPTIONS, ServingOptions

VLLM_OPTIONS = ("hf_overrides", "gpu_memory_utilization")
"""The options of vLLM alone, by their names in `ServingOptions`."""

CONTAINER_OPTIONS = ("image", "command")
"""Those of a container alone."""

RAY_OPTIONS = ("replicas", "ray_address")
"""Those of a cluster of Ray."""

CARD_OPTIONS = ("device", "gpu")
"""Those of an engine whose memory on graphics cards is counted."""

SPECIAL_OPTIONS = {
    **dict.fromkeys(VLLM_OPTIONS, "vllm"),
    **dict.fromkeys(CONTAINER_OPTIONS, "container"),
    **dict.fromkeys(RAY_OPTIONS, "ray"),
    **dict.fromkeys(CARD_OPTIONS, "llama.cpp"),
}
"""The options that few engines know, and one that does."""


def check_options(engine: Engine, options: ServingOptions, companions: Sequence[str] = ()) -> None:
    """Check options as `Engine.check` does, and first those that only some engines know.

    Raises:
        UnsupportedError: The engine would leave an option out without a word; it is named. And what `check` raises.
    """
    for name in sorted(SPECIAL_OPTIONS.keys() - engine.special_options):
        said = getattr(options, name)
        if said is not None and (name not in CARD_OPTIONS or said != "auto"):
            raise UnsupportedError(
                f"engine '{engine.name}' has no {OPTIONS[name].written}",
                remedy=f"Remove it, or use engine {SPECIAL_OPTIONS[name]}",
            )
    engine.check(options, companions)
