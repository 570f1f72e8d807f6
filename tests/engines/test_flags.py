"""Runtime flags: what a project may write, what it may not, and what becomes of it."""

import json
import subprocess
import sys

import pytest

from dmrc.engines.llama_cpp.flags import as_arguments, parallel, parse, refuse_without_binary
from dmrc.engines.llama_cpp.flags_refused import FORBIDDEN
from dmrc.engines.llama_cpp.flags_table import DMRC, FLAGS, Flag
from dmrc.errors import RuntimeFlagError


@pytest.mark.parametrize(
    ("flags", "arguments"),
    [
        (["--temp", "0.2", "--top-k=5"], ["--temp", "0.2", "--top-k", "5"]),
        (["-ngl", "all", "--n-gpu-layers=auto"], ["-ngl", "all", "--n-gpu-layers", "auto"]),
        (["--seed", "-1", "-n", "-1"], ["--seed", "-1", "-n", "-1"]),
        (["--no-warmup", "-fa", "on"], ["--no-warmup", "-fa", "on"]),
        (["-ts", "3,1", "--samplers", "top_k;temperature"], ["-ts", "3,1", "--samplers", "top_k;temperature"]),
        (["--grammar", 'root ::= "a/b" | "\\n"'], ["--grammar", 'root ::= "a/b" | "\\n"']),
        (
            ["--json-schema={}", "--chat-template-kwargs", '{"a": 1}'],
            ["--json-schema", "{}", "--chat-template-kwargs", '{"a": 1}'],
        ),
        (["-np", "2", "--embeddings", "--rerank"], []),
    ],
)
def test_allowed_flags_reach_llama_server_as_written(flags: list[str], arguments: list[str]) -> None:
    assert as_arguments(parse(flags)) == arguments


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--tmep", "1"], "runtime flag '--tmep' is unknown. Did you mean --temp"),
        (["temp", "1"], "'temp' is no runtime flag"),
        (["--temp"], "runtime flag '--temp' has no value"),
        (["--temp", "--top-k", "5"], "runtime flag '--temp' has no value"),
        (["--temp", "warm"], "runtime flag '--temp' is 'warm', which is not a number"),
        (["--temp", "nan"], "which is not a number"),
        (["--temp=-1"], "which is not at least 0"),
        (["--top-k", "1_0"], "which is not a whole number"),
        (["--top-k", "4294967296"], "which is not at most 2147483647"),
        (["--threads", "٣"], "which is not a whole number"),
        (["-fa", "yes"], "which is not one of on, off, auto"),
        (["--no-warmup=1"], "runtime flag '--no-warmup' takes no value"),
        (["--json-schema", "[1]"], "which is not a JSON object"),
        (["--json-schema", "{" * 50], "which is not a JSON object"),
        (["-ts", "a,b"], "which is not a list of shares, such as 3,1"),
        (["-ngl", "many"], "which is not a number of layers, auto or all"),
        (["-dev", "../../etc/passwd"], "the value of runtime flag '-dev' looks like a path"),
        (["--samplers", "C:\\x"], "the value of runtime flag '--samplers' looks like a path"),
        (["--cache-ram", "-1"], "which is not at least 0"),
        (["-np", "0"], "which is not at least 1"),
        (["--ctx-size", "4096"], "'--ctx-size' is not allowed: write context_size: under the model instead"),
        (["-c=1"], "'-c' is not allowed"),
        (["--host", "0.0.0.0"], "'--host' is not allowed: dmrc sets it"),
        (["--api-key", "x"], "'--api-key' is not allowed: it would break the gateway's way to the engine"),
        (["--mmproj", "x"], "'--mmproj' is not allowed: write x-dmrc: {mmproj: ./mmproj.gguf} under the model instead"),
        (["--log-file", "x"], "'--log-file' is not allowed: a compose file may not name files of this machine"),
        (["--tools", "all"], "'--tools' is not allowed: it would let a model run programs on this machine"),
    ],
)
def test_a_bad_flag_is_named_with_its_reason(flags: list[str], message: str) -> None:
    with pytest.raises(RuntimeFlagError) as caught:
        parse(flags)

    assert message in str(caught.value)
    assert caught.value.exit_code == 2


def test_a_flag_that_only_the_binary_has_says_how_to_get_one() -> None:
    settings = parse(["--temp", "0", "--n-cpu-moe", "3"])

    with pytest.raises(RuntimeFlagError, match=r"'--n-cpu-moe' needs a llama-server binary.*DMRC_LLAMA_SERVER"):
        refuse_without_binary(settings)


@pytest.mark.parametrize(
    ("flags", "expected"), [([], None), (["-np", "2"], 2), (["--parallel=3"], 3), (["-np", "2", "-np", "4"], 4)]
)
def test_parallel_is_a_wish_to_dmrc(flags: list[str], expected: int | None) -> None:
    assert parallel(flags) == expected


def test_no_spelling_is_listed_twice() -> None:
    names = [name for flag in FLAGS for name in flag.names] + list(FORBIDDEN)

    assert len(names) == len(set(names))


def test_checking_flags_imports_nothing_heavy() -> None:
    """The command line checks flags; it must stay fast."""
    program = (
        "import sys; from dmrc.engines.llama_cpp.flags import parse;"
        "import dmrc.engines.llama_cpp.memory, dmrc.engines.llama_cpp.engine;"
        "print(*{'asyncio', 'httptools', 'xllamacpp', 'psutil'} & set(sys.modules))"
    )

    ran = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)

    assert ran.stdout.split() == []


def examples(flag: Flag) -> list[list[str]]:
    """Every form of a flag: one for each choice."""
    name = flag.names[-1]
    texts = {
        "--n-gpu-layers": "all",
        "--tensor-split": "3,1",
        "--samplers": "top_k;temperature",
        "--grammar": 'root ::= "a"',
        "--chat-template": "chatml",
    }
    number = str(int(max(flag.at_least or 1, 1)))
    values = {"int": number, "float": "0.5", "json": '{"type": "object"}'}
    if flag.kind in ("on", "off"):
        return [[name]]
    words = [word for word, _ in flag.choices]
    return [[name, word] for word in words or [texts.get(name) or values[flag.kind]]]


@pytest.mark.engine
@pytest.mark.parametrize("flag", [flag for flag in FLAGS if flag.attribute], ids=lambda flag: flag.names[-1])
def test_every_flag_has_a_place_in_xllamacpp(flag: Flag) -> None:
    from dmrc.engines.llama_cpp.xllamacpp_child import parameters

    launch = {"name": "m", "path": "m.gguf", "mmproj": None, "chat_template": None, "mode": "completion"}
    launch |= {"context_size": "256", "parallel": "1", "socket": "m.sock"}
    launch |= {"prompt_cache_mib": "0", "context_checkpoints": "32"}

    for example in examples(flag):
        parsed = parse(example)
        params = parameters(json.dumps({**launch, "runtime_flags": example}))
        if flag.attribute == DMRC:
            assert as_arguments(parsed) == []
        assert params.n_ctx == 256


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
