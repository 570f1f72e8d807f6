"""Runtime flags: what a project may write, what it may not, and what becomes of it."""

import subprocess
import sys

import pytest

from dmrc.engines.llama_cpp.flags import parallel, parse, refuse_without_binary
from dmrc.engines.llama_cpp.flags_refused import FORBIDDEN
from dmrc.engines.llama_cpp.flags_table import FLAGS, FORMER
from dmrc.engines.runtime_flags import as_arguments
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
        (
            ["--no-mmap", "-dio", "--load-mode=mmap"],
            ["--load-mode", "none", "--load-mode", "dio", "--load-mode", "mmap"],
        ),
    ],
)
def test_allowed_flags_reach_llama_server_as_written(flags: list[str], arguments: list[str]) -> None:
    assert as_arguments(parse(flags)) == arguments


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--tmep", "1"], "runtime flag '--tmep' is unknown. Did you mean --temp"),
        (["temp", "1"], "'temp' is not a runtime flag"),
        (["--temp"], "runtime flag '--temp' has no value"),
        (["--temp", "--top-k", "5"], "runtime flag '--temp' has no value"),
        (["--temp", "warm"], "runtime flag '--temp' must be a number, not 'warm'"),
        (["--temp", "nan"], "must be a number"),
        (["--temp=-1"], "must be at least 0"),
        (["--top-k", "1_0"], "must be a whole number"),
        (["--top-k", "4294967296"], "must be at most 2147483647"),
        (["--threads", "٣"], "must be a whole number"),
        (["-fa", "yes"], "must be one of on, off, auto"),
        (["--no-warmup=1"], "runtime flag '--no-warmup' takes no value"),
        (["--mlock=1"], "runtime flag '--mlock' takes no value"),
        (["--temp", "--mlock"], "runtime flag '--temp' has no value"),
        (["--json-schema", "[1]"], "must be a JSON object"),
        (["--json-schema", "{" * 50], "must be a JSON object"),
        (["-ts", "a,b"], "must be a list of shares, such as 3,1"),
        (["-ngl", "many"], "must be a number of layers, auto or all"),
        (["-dev", "../../etc/passwd"], "the value of runtime flag '-dev' looks like a path"),
        (["--samplers", "C:\\x"], "the value of runtime flag '--samplers' looks like a path"),
        (["--cache-ram", "-1"], "must be at least 0"),
        (["-np", "0"], "must be at least 1"),
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
    names = [name for flag in FLAGS for name in flag.names] + [*FORMER, *FORBIDDEN]

    assert len(names) == len(set(names))


@pytest.mark.process
def test_checking_flags_imports_nothing_heavy() -> None:
    """The command line checks flags; it must stay fast."""
    program = (
        "import sys; from dmrc.engines.llama_cpp.flags import parse;"
        "import dmrc.engines.llama_cpp.memory, dmrc.engines.llama_cpp.engine;"
        "print(*{'asyncio', 'httptools', 'xllamacpp', 'psutil'} & set(sys.modules))"
    )

    ran = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)

    assert ran.stdout.split() == []
