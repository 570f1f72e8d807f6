"""Where each runtime flag goes in the installed xllamacpp: a place that is there, of its kind, and with its value."""

import json
from functools import reduce

import pytest

from dmrc.engines.llama_cpp.flags import parse
from dmrc.engines.llama_cpp.flags_table import FLAGS, FORMER
from dmrc.engines.runtime_flags import DMRC, Flag
from tests.engines.flag_examples import examples

# What llama.cpp's argument parser makes of a value that it does not simply keep.
# Source: https://github.com/ggml-org/llama.cpp/blob/master/common/arg.cpp
_MADE_OF = {
    "--n-gpu-layers": -2,
    "--tensor-split": [3.0, 1.0],
    "--rope-scale": 2.0,
    "--grammar": 'root ::= "a"',
    "--chat-template-kwargs": {"type": '"object"'},
    "--reverse-prompt": ["END"],
    "--reasoning-effort": {"reasoning_effort": '"low"'},
}
_SPECULATION = "COMMON_SPECULATIVE_TYPE_"
_REASONING = {"on": 1, "off": 0, "auto": -1}
_KINDS: dict[str, tuple[type, ...]] = {
    "int": (int, bool),
    "float": (float,),
    "text": (str, list),
    "word": (str, int, list, dict),
    "json": (dict,),
    "on": (bool,),
    "off": (bool,),
}


def place(params: object, dotted: str) -> object:
    return reduce(getattr, dotted.split("."), params)


def wanted(flag: Flag, value: str | None) -> object:
    """Return what a place holds after a flag: of an enumeration the name of its member."""
    if flag.names[-1] in _MADE_OF:
        return _MADE_OF[flag.names[-1]]
    if flag.names[-1] == "--json-schema":
        import xllamacpp

        return xllamacpp.json_schema_to_grammar(value or "")
    if flag.names[-1] == "--reasoning":
        return _REASONING[value or ""]
    match flag.kind:
        case "int":
            return int(value or "")
        case "float":
            return pytest.approx(float(value or ""))
        case "on" | "off" | "choice" if flag.choices:
            _, _, member = dict(flag.choices)[value or ""].partition(".")
            return member or int(dict(flag.choices)[value or ""])
        case "on" | "off":
            return flag.kind == "on"
    return value


def plain(found: object, flag: Flag) -> object:
    """Return what was found in the form of `wanted`."""
    if flag.names[-1] == "--spec-type":
        return ",".join(one.name.removeprefix(_SPECULATION).lower().replace("_", "-") for one in found)  # type: ignore[attr-defined]
    if flag.names[-1] == "--tensor-split":
        return list(found)[:2]  # type: ignore[call-overload]  # one share for each device that could be
    if flag.names[-1] in ("--grammar", "--json-schema"):
        return found.grammar  # type: ignore[attr-defined]  # xllamacpp's own
    return getattr(found, "name", found)


LAUNCH = {"name": "m", "path": "m.gguf", "mmproj": None, "chat_template": None, "mode": "completion"}
LAUNCH |= {"context_size": "256", "parallel": "1", "socket": "m.sock"}
LAUNCH |= {"prompt_cache_mib": "0", "context_checkpoints": "32"}


@pytest.mark.engine
@pytest.mark.parametrize(
    "flag", [flag for flag in FLAGS if flag.attribute not in (None, DMRC)], ids=lambda flag: flag.names[-1]
)
def test_the_value_of_a_flag_is_read_back_from_its_place(flag: Flag) -> None:
    from dmrc.engines.llama_cpp.xllamacpp_child import parameters

    for example in examples(flag):
        (setting,) = parse(example)
        params = parameters(json.dumps({**LAUNCH, "runtime_flags": example}))

        for dotted in (flag.attribute or "").split():
            assert plain(place(params, dotted), flag) == wanted(flag, setting.value), (dotted, example)


@pytest.mark.engine
@pytest.mark.parametrize(
    "flag", [flag for flag in FLAGS if flag.attribute not in (None, DMRC)], ids=lambda flag: flag.names[-1]
)
def test_the_place_of_a_flag_is_of_its_kind(flag: Flag) -> None:
    """A yes or no of xllamacpp takes any value in silence, so its kind is looked at before one is set."""
    import xllamacpp

    for dotted in (flag.attribute or "").split():
        found = place(xllamacpp.CommonParams(), dotted)
        if flag.names[-1] in ("--grammar", "--json-schema"):
            assert isinstance(found, xllamacpp.CommonGrammar)
        elif members := [member for _, member in flag.choices if "." in member]:
            one = found[0] if isinstance(found, list) else found
            assert {member.partition(".")[0] for member in members} == {type(one).__name__}
        elif flag.choices:
            assert isinstance(found, int)
        else:
            assert isinstance(found, _KINDS[flag.kind])
            assert not isinstance(found, bool) or flag.kind in ("on", "off") or flag.at_most == 1


@pytest.mark.engine
@pytest.mark.parametrize("name", FORMER)
def test_a_former_switch_is_set_as_the_flag_that_has_replaced_it(name: str) -> None:
    from dmrc.engines.llama_cpp.xllamacpp_child import parameters

    def load_mode(flags: list[str]) -> object:
        return parameters(json.dumps({**LAUNCH, "runtime_flags": flags})).load_mode

    assert load_mode(["--load-mode", "mlock", name]) == load_mode(list(FORMER[name]))


@pytest.mark.engine
def test_values_arrive_in_xllamacpp_as_its_own_parser_would_set_them() -> None:
    from dmrc.engines.llama_cpp.xllamacpp_child import parameters

    flags = ["--temp", "0.25", "--rope-scale", "4", "--seed", "-1", "-ngl", "all", "-ts", "3,1", "--no-mmap", "-nkvo"]
    flags += [
        "--chat-template-kwargs",
        '{"style": "short"}',
        "--reasoning",
        "off",
        "--json-schema",
        '{"type": "object"}',
    ]
    launch = {"name": "m", "path": "m", "mmproj": "", "chat_template": "", "mode": "rerank", "socket": "m.sock"}
    launch |= {"prompt_cache_mib": 96, "context_checkpoints": 7}

    params = parameters(json.dumps({**launch, "context_size": 512, "parallel": 3, "runtime_flags": flags}))

    assert (params.n_ctx, params.n_parallel, params.kv_unified) == (1536, 3, False)
    assert params.sampling.temp == 0.25
    assert params.sampling.user_sampling_config == 64  # COMMON_PARAMS_SAMPLING_CONFIG_TEMP: a GGUF must not replace it
    assert params.sampling.seed == 0xFFFFFFFF
    assert params.rope_freq_scale == 0.25
    assert params.n_gpu_layers == -2
    assert params.tensor_split[:3] == [3.0, 1.0, 0.0]
    assert params.load_mode.name == "LLAMA_LOAD_MODE_NONE"
    assert params.no_kv_offload
    assert params.default_template_kwargs == {"style": '"short"', "enable_thinking": "false"}
    assert params.enable_reasoning == 0
    assert "json" in params.sampling.grammar.grammar or "root" in params.sampling.grammar.grammar
    assert params.pooling_type.name == "LLAMA_POOLING_TYPE_RANK"
    assert (params.cache_ram_mib, params.n_ctx_checkpoints, params.cache_idle_slots) == (96, 7, True)
    assert (params.endpoint_slots, params.ui, params.cors_origins) == (False, False, "")
