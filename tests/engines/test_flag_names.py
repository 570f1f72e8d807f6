"""The names of runtime flags against the two lists that count: llama.cpp's own, and Docker Model Runner's allowlist."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest

from dmrc.engines.llama_cpp.flags_refused import FORBIDDEN
from dmrc.engines.llama_cpp.flags_table import FLAGS

ALLOWED = {name for flag in FLAGS for name in flag.names}

# llama.cpp has taken these away, or never had them, and projects written for Docker Model Runner still hold them.
FORMER = {"--mlock", "--mmap", "--no-mmap", "-dio", "--direct-io", "-ndio", "--no-direct-io", "--no-metrics"}

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

    assert strangers <= FORMER | {"-cd", "--ctx-size-draft"}


def test_every_flag_that_docker_model_runner_allows_is_known() -> None:
    """A project that was written for it gets an effect or a reason, and never `unknown`."""
    assert [name for name in DOCKER_MODEL_RUNNER.split() if name not in ALLOWED and name not in FORBIDDEN] == []


def test_no_flag_is_both_allowed_and_forbidden() -> None:
    assert not ALLOWED & FORBIDDEN.keys()
