"""What of the user's shell an engine child gets: what it needs to run, and no key or token that happens to be there."""

from __future__ import annotations

import os
from collections.abc import Mapping

from dmrc.engines.parent_death import PARENT_VARIABLE
from dmrc.secret_names import is_secret_name

_NAMES = frozenset(
    {
        *("PATH", "HOME", "USER", "LOGNAME", "LANG", "LANGUAGE", "TZ", "TMPDIR", "TEMP", "TMP"),
        *("PYTHONPATH", "PYTHONHOME", "PYTHONUSERBASE", "PYTHONUTF8", "VIRTUAL_ENV", "XDG_CACHE_HOME"),
        *("LD_LIBRARY_PATH", "LD_PRELOAD", "DYLD_LIBRARY_PATH", "DYLD_FALLBACK_LIBRARY_PATH", "GLIBC_TUNABLES"),
    }
)
_PREFIXES = (
    *("LC_", "OMP_", "GOMP_", "KMP_", "OPENBLAS_", "MKL_", "MALLOC_", "GGML_"),
    *("CUDA_", "NVIDIA_", "HIP_", "ROCR_", "HSA_", "AMD_", "VK_", "MESA_", "LIBGL_", "GALLIUM_", "LP_", "SYCL_"),
    *("ONEAPI_", "ZE_", "ASCEND_", "MTL_", "METAL_"),
    *("RAY_", "VLLM_", "TORCH_", "TORCHINDUCTOR_", "PYTORCH_", "TRITON_", "NCCL_", "RCCL_", "GLOO_"),
)

_WAITING = frozenset({"GOMP_SPINCOUNT", "OMP_WAIT_POLICY"})
_SPINS = "1000"  # what GNU's OpenMP takes by itself where a process has more threads than there are cores


def child_environment(environ: Mapping[str, str]) -> dict[str, str]:
    """Return what of `environ` a child gets.

    Whoever may read its memory could read the rest, for as long as the daemon lives; and llama-server's own
    `LLAMA_ARG_*` would change what a project declares.

    OpenMP's threads are told to wait for each other for microseconds and then to sleep, unless the user says how long.
    By themselves they wait for milliseconds: where another program keeps a core busy, all but one then wait for the one
    that shares it, again and again, and a model becomes fifty times slower.
    Sources: https://github.com/ggml-org/llama.cpp/blob/master/common/arg.cpp (`set_env`),
    https://gcc.gnu.org/onlinedocs/libgomp/GOMP_005fSPINCOUNT.html
    """
    kept = {name: value for name, value in environ.items() if _is_needed(name)}
    if not _WAITING & kept.keys():
        kept["GOMP_SPINCOUNT"] = _SPINS
    return {**kept, PARENT_VARIABLE: str(os.getpid())}


def _is_needed(name: str) -> bool:
    return name in _NAMES or (name.startswith(_PREFIXES) and not is_secret_name(name))
