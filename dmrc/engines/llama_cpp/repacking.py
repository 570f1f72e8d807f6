"""Which weights llama.cpp copies into another order, for this processor to multiply faster: they count twice."""

from __future__ import annotations

import functools
import platform
from collections.abc import Mapping
from pathlib import Path

# Numbers of tensor types in GGUF; which processor repacks which.
# Source: ggml_repack_get_optimal_repack_type in
# https://github.com/ggml-org/llama.cpp/blob/master/ggml/src/ggml-cpu/repack.cpp
_Q4_0, _Q2_K, _Q4_K, _Q5_K, _Q6_K, _IQ4_NL, _MXFP4 = 2, 10, 12, 13, 14, 20, 39
_X86 = {"avx2": (_Q4_0, _Q4_K, _IQ4_NL, _MXFP4), "avx512f": (_Q2_K,)}
_ARM = {"asimddp": (_Q4_0, _Q4_K, _Q5_K, _Q6_K, _IQ4_NL, _MXFP4)}


def repacked_bytes(matrix_bytes: Mapping[int, int]) -> int:
    """Return how much of these matrices, given in bytes by type, is copied on this machine."""
    return sum(matrix_bytes.get(kind, 0) for kind in _repacked_types())


@functools.cache
def _repacked_types() -> frozenset[int]:
    """Return the types; where the processor does not say what it can do, those of a recent one."""
    known = _ARM if platform.machine().lower() in ("arm64", "aarch64") else _X86
    try:
        words = set(Path("/proc/cpuinfo").read_text().split())
    except OSError:
        words = {"avx2", "asimddp"}
    return frozenset(kind for feature, kinds in known.items() if feature in words for kind in kinds)
