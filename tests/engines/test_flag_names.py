"""The names of runtime flags against the two lists that count: llama.cpp's own, and Docker Model Runner's allowlist."""

from __future__ import annotations

import importlib.util
import re
import subprocess
from dataclasses import dataclass
from pathlib import Path

import pytest

from dmrc.engines.llama_cpp.flags_refused import FORBIDDEN
from dmrc.engines.llama_cpp.flags_table import FLAGS, FORMER
from dmrc.engines.runtime_flags import DMRC
from tests.engines.flag_examples import examples
from tests.groups import LLAMA_SERVER

ALLOWED = {name for flag in FLAGS for name in flag.names}

TRIED_WITH = "version: 0.5.0-dev (build 1, commit 0c1e570)"
"""The llama-server that the table was last compared with."""

# llama.cpp has taken these away, or never had them, and projects written for Docker Model Runner still hold them.
NOT_THERE = {"--no-metrics", "-cd", "--ctx-size-draft"}

# Source: https://github.com/docker/model-runner/blob/main/pkg/inference/runtime_flags_allowlist.go
DOCKER_MODEL_RUNNER = """
-t --threads -tb --threads-batch -C --cpu-mask -Cr --cpu-range --cpu-strict --prio --poll -Cb --cpu-mask-batch -Crb
--cpu-range-batch --cpu-strict-batch --prio-batch --poll-batch -c --ctx-size -n --predict --n-predict --keep -b
--batch-size -ub --ubatch-size --swa-full -fa --flash-attn --perf --no-perf --samplers -s --seed --temp --temperature
--top-k --top-p --min-p --top-nsigma --xtc-probability --xtc-threshold --typical --repeat-last-n --repeat-penalty
--presence-penalty --frequency-penalty --dry-multiplier --dry-base --dry-allowed-length --dry-penalty-last-n --mirostat
--mirostat-lr --mirostat-ent --ignore-eos --dynatemp-range --dynatemp-exp -dev --device -ngl --gpu-layers --n-gpu-layers
-sm --split-mode -ts --tensor-split -mg --main-gpu -fit --fit -fitt --fit-target -fitc --fit-ctx -kvo --kv-offload -nkvo
--no-kv-offload --repack -nr --no-repack --no-host -ctk --cache-type-k -ctv --cache-type-v --mlock --mmap --no-mmap -dio
--direct-io -ndio --no-direct-io -cram --cache-ram -kvu --kv-unified --context-shift --no-context-shift --rope-scaling
--rope-scale --rope-freq-base --rope-freq-scale --yarn-orig-ctx --yarn-ext-factor --yarn-attn-factor --yarn-beta-slow
--yarn-beta-fast -np --parallel -cb --cont-batching -nocb --no-cont-batching --warmup --no-warmup -to --timeout
--threads-http --cache-prompt --no-cache-prompt --cache-reuse --sleep-idle-seconds --mmproj-auto --no-mmproj
--no-mmproj-auto --mmproj-offload --no-mmproj-offload --image-min-tokens --image-max-tokens --spm-infill --draft
--draft-n --draft-max --draft-min --draft-n-min --draft-p-min -cd --ctx-size-draft -devd --device-draft -ngld
--gpu-layers-draft --n-gpu-layers-draft -td --threads-draft -tbd --threads-batch-draft --lora-init-without-apply
--control-vector-layer-range --grammar -j --json-schema -bs --backend-sampling --chat-template --chat-template-kwargs
--jinja --no-jinja --pooling --reasoning-format --reasoning-budget --prefill-assistant --no-prefill-assistant
--api-prefix --webui --no-webui --webui-config --api-key --metrics --no-metrics --props --slots --no-slots --embedding
--embeddings --rerank --reranking -sps --slot-prompt-similarity -cmoe --cpu-moe -ncmoe --n-cpu-moe --check-tensors
--op-offload --no-op-offload -v --verbose
"""


@pytest.mark.engine
def test_every_name_is_one_of_llama_cpps_parser() -> None:
    """The wheel carries llama.cpp's whole argument parser, although it does not call it."""
    spec = importlib.util.find_spec("xllamacpp")
    assert spec is not None
    assert spec.origin is not None
    (library,) = Path(spec.origin).parent.glob("xllamacpp*.so")
    code = library.read_bytes()

    strangers = {name for name in ALLOWED | FORBIDDEN.keys() if name.encode() + b"\0" not in code}

    assert strangers <= NOT_THERE


def test_every_flag_that_docker_model_runner_allows_is_known() -> None:
    """A project that was written for it gets an effect or a reason, and never `unknown`."""
    assert [name for name in DOCKER_MODEL_RUNNER.split() if name not in {*ALLOWED, *FORMER, *FORBIDDEN}] == []


def test_no_flag_is_both_allowed_and_forbidden() -> None:
    assert not (ALLOWED | FORMER.keys()) & FORBIDDEN.keys()


@dataclass(frozen=True)
class Entry:
    """One flag of `llama-server --help`."""

    names: tuple[str, ...]
    """All its spellings, and, of a switch, those that turn it off."""
    takes_value: bool


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    assert LLAMA_SERVER is not None
    return subprocess.run([LLAMA_SERVER, *arguments], capture_output=True, text=True, check=False)


@pytest.fixture(scope="module")
def help_text(needs_llama_server: None) -> dict[str, Entry]:
    """What `--help` tells, by each spelling. A value follows the names after one blank, the description after three."""
    found: dict[str, Entry] = {}
    for line in run("--help").stdout.splitlines():
        if match := re.match(r"--?[a-zA-Z][^\s,]*(,\s+--?[a-zA-Z][^\s,]*)*", line):
            names = tuple(re.split(r",\s+", match[0]))
            found |= dict.fromkeys(names, Entry(names, re.match(r" \S", line[match.end() :]) is not None))
    return found


@pytest.fixture
def version(needs_llama_server: None) -> str:
    said = run("--version")
    return next(line for line in (said.stderr + said.stdout).splitlines() if line.startswith("version"))


def test_the_table_is_what_llama_servers_help_says(help_text: dict[str, Entry], version: str) -> None:
    """Tried with `TRIED_WITH`. A flag that is new in another version is to be decided: allowed or refused."""
    wrong = []
    for flag in FLAGS:
        takes_value = flag.kind not in ("on", "off")
        wrong += [name for name in flag.names if name not in help_text or help_text[name].takes_value != takes_value]
        entries = {help_text[name] for name in flag.names if name in help_text}
        wrong += [" ".join(flag.names)] if len(entries) != 1 else []

    assert wrong == [], f"these differ in {version}; they were tried with {TRIED_WITH}"
    assert FORBIDDEN.keys() - help_text.keys() <= NOT_THERE
    assert not FORMER.keys() & help_text.keys()
    assert help_text.keys() - ALLOWED - FORBIDDEN.keys() == set(), version


@pytest.mark.llama_server
def test_llama_server_takes_every_spelling_and_every_choice_of_a_flag() -> None:
    """It reads all arguments before it says its help, and ends with an error at the first that it does not take."""
    flags = [flag for flag in FLAGS if flag.attribute != DMRC]
    forms = [[name, *values] for flag in flags for _, *values in examples(flag) for name in flag.names]

    ran = run(*(word for form in forms for word in form), "--help")

    assert ran.returncode == 0, ran.stderr
