"""What an engine does where a request says nothing of how tokens are chosen: the default of each parameter. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from dmrc.answer import ServerKind
from dmrc.engines.llama_cpp.flags import settings_of
from dmrc.errors import RuntimeFlagError


@dataclass(frozen=True, slots=True)
class Default:
    """What holds for one parameter where a request leaves it out."""

    value: str
    """As people read it: `0.8`, `no limit`; "" where only its server knows."""
    origin: str
    """Who says so: `runtime_flags`, `the model's file`, `llama.cpp`."""


@dataclass(frozen=True, slots=True)
class _Parameter:
    """One parameter as llama.cpp's server has it."""

    flag: str
    """Its flag, as `settings_of` calls it."""
    key: str | None
    """Its key in the header of a model's file, where that may say it."""
    value: str
    """What holds where neither does."""


# Defaults: https://github.com/ggml-org/llama.cpp/blob/master/tools/server/README.md#sampling-params
# Keys of a header: LLM_KV_GENERAL_SAMPLING_… in https://github.com/ggml-org/llama.cpp/blob/master/src/llama-arch.cpp;
# a flag comes before them (common_init_sampler_from_model in common/common.cpp).
_LLAMA_CPP: Mapping[str, _Parameter] = {
    "temperature": _Parameter("--temperature", "general.sampling.temp", "0.8"),
    "top_p": _Parameter("--top-p", "general.sampling.top_p", "0.95"),
    "top_k": _Parameter("--top-k", "general.sampling.top_k", "40"),
    "min_p": _Parameter("--min-p", "general.sampling.min_p", "0.05"),
    "repeat_penalty": _Parameter("--repeat-penalty", "general.sampling.penalty_repeat", "1"),
    "presence_penalty": _Parameter("--presence-penalty", None, "0"),
    "frequency_penalty": _Parameter("--frequency-penalty", None, "0"),
    "max_tokens": _Parameter("--n-predict", None, "no limit"),
    "seed": _Parameter("--seed", None, "random"),
}

# Source: https://docs.vllm.ai/en/latest/api/vllm/sampling_params.html; the model's generation_config.json comes first.
_VLLM = {
    "temperature": "1",
    "top_p": "1",
    "top_k": "all",
    "min_p": "0",
    "presence_penalty": "0",
    "frequency_penalty": "0",
    "max_tokens": "no limit",
    "seed": "random",
}


def defaults(
    server: ServerKind, engine: str, flags: Sequence[str] = (), metadata: Mapping[str, str] | None = None
) -> dict[str, Default]:
    """Return the default of each parameter, by its name in a chat completion.

    `flags` are the runtime flags of its runner, `metadata` the header of its file, as `GgufFacts.metadata` has it.
    """
    if server == "llama-server":
        return _of_llama_cpp(flags, metadata or {})
    if server == "vllm":
        origin = "vLLM, where the model's generation_config.json does not say another"
        return {name: Default(value, origin) for name, value in _VLLM.items()}
    who = "its server" if server == "upstream" else engine
    return {name: Default("", who) for name in _LLAMA_CPP}


def _of_llama_cpp(flags: Sequence[str], metadata: Mapping[str, str]) -> dict[str, Default]:
    try:
        said = settings_of(flags)
    except RuntimeFlagError:  # it does not start with these, and says why
        said = {}
    found = {}
    for name, one in _LLAMA_CPP.items():
        if one.flag in said:
            found[name] = Default(_shown(name, said[one.flag]), "runtime_flags")
        elif one.key is not None and one.key in metadata:
            found[name] = Default(_shown(name, metadata[one.key]), "the model's file")
        else:
            found[name] = Default(one.value, "llama.cpp")
    return found


def _shown(name: str, value: str) -> str:
    """Return a number as people write it: a header holds 0.6 in 32 bits; -1 stands for none."""
    try:
        number = float(value)
    except ValueError:
        return value
    if number == -1 and name in ("max_tokens", "seed"):
        return _LLAMA_CPP[name].value
    return f"{number:.4g}" if name != "seed" else value
