"""The configuration of `ray.serve.llm`, read by Ray's own class for it. vLLM itself, which it is for, is not here."""

import http.client
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from dmrc_ray import llm

from dmrc.engines.engine import Launch
from dmrc.engines.local_model import LocalModel
from dmrc.engines.vllm.flags import FLAGS
from dmrc.errors import DmrcError
from dmrc.project import ReplicaRange, ServingOptions
from tests.dmrc_command import Dmrc
from tests.tiny_safetensors import write_tiny_llama_directory

_READ_BY_RAY = """
import json, sys
from unittest.mock import MagicMock

# It is for models in clouds' buckets, of 150 MB, and has no part in what is checked here.
for name in ("pyarrow", "pyarrow.fs"):
    sys.modules[name] = MagicMock()
from ray.llm._internal.serve.core.configs.llm_config import LLMConfig

read = LLMConfig.model_validate(json.load(sys.stdin))
print(json.dumps([read.model_id, read.max_request_context_length, read.llm_engine, read.accelerator_config.kind]))
"""
"""In a process of its own: Ray takes over what imports it."""


def config(directory: Path, options: ServingOptions) -> dict[str, Any]:
    launch = Launch(
        name="local/big",
        model=LocalModel(path=directory, format="safetensors"),
        options=options,
        parallel=32,
        socket=directory / "socket",
        log=directory / "log",
    )
    (found,) = llm.application(launch, "dmrc-big")["args"]["llm_configs"]
    return found


def read_by_ray(config: dict[str, Any]) -> subprocess.CompletedProcess[str]:
    argv = [sys.executable, "-c", _READ_BY_RAY]
    return subprocess.run(argv, input=json.dumps(config), capture_output=True, text=True, timeout=120)


def test_the_configuration_of_a_model_says_all_that_the_project_does(tmp_path: Path) -> None:
    options = ServingOptions(
        context_size=8192,
        runtime_flags=("-tp", "2", "--no-enable-prefix-caching", "--enforce-eager", "--rope-scaling", '{"factor": 2}'),
        replicas=ReplicaRange(min=1, max=3, target=4),
    )

    found = config(tmp_path, options)

    assert found == {
        "model_loading_config": {"model_id": "local/big", "model_source": str(tmp_path)},
        "engine_kwargs": {
            "tensor_parallel_size": 2,
            "enable_prefix_caching": False,
            "enforce_eager": True,
            "rope_scaling": {"factor": 2},
            "max_num_seqs": 32,
            "max_model_len": 8192,
        },
        "deployment_config": {
            "max_ongoing_requests": 32,
            "autoscaling_config": {"min_replicas": 1, "max_replicas": 3, "target_ongoing_requests": 4},
        },
    }


def test_ray_reads_the_configuration_and_refuses_one_with_another_field(tmp_path: Path, needs_ray: None) -> None:
    options = ServingOptions(context_size=8192, runtime_flags=("-tp", "2"), replicas=ReplicaRange(min=0, max=3))
    found = config(tmp_path, options)

    read = read_by_ray(found)
    other = read_by_ray({**found, "replicas": 3})
    bad = read_by_ray({**found, "deployment_config": {"autoscaling_config": {"min_replicas": 4, "max_replicas": 3}}})

    assert read.returncode == 0, read.stderr
    assert json.loads(read.stdout) == ["local/big", 8192, "vLLM", "gpu"]
    assert "Extra inputs are not permitted" in other.stderr
    assert "max_replicas" in bad.stderr


def test_no_field_bears_the_name_of_two_flags() -> None:
    written = [name for flag in FLAGS if (name := flag.names[-1].removeprefix("--")).startswith("no-") is False]

    assert len(written) == len({name.replace("-", "_") for name in written})


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (ServingOptions(loras=("/adapter",)), "without lora"),
        (ServingOptions(draft="ai/small"), "without draft"),
        (ServingOptions(mode="embedding"), "not for embedding"),
        (ServingOptions(runtime_flags=("--trust-remote-code",)), "--trust-remote-code"),
    ],
)
def test_what_it_has_no_place_for_is_refused_by_name(options: ServingOptions, words: str) -> None:
    with pytest.raises(DmrcError, match=words):
        llm.check(options)


@pytest.mark.ray
def test_a_project_with_such_a_model_gets_the_configuration_and_the_way_to_use_it(dmrc: Dmrc, tmp_path: Path) -> None:
    dmrc.ok("package", "--safetensors-dir", write_tiny_llama_directory(tmp_path / "big"), "local/big")
    (tmp_path / "compose.yaml").write_text(
        "name: shop\nservices: {web: {image: none, models: [llm]}}\nmodels:\n  llm:\n    model: local/big\n"
        "    context_size: 512\n    runtime_flags: [--tensor-parallel-size, '2']\n"
        "    x-dmrc: {engine: ray, replicas: {min: 1, max: 3}}\n"
    )
    key = json.loads(dmrc.ok("env", "web", "--format", "json", cwd=tmp_path))["OPENAI_API_KEY"]

    connection = http.client.HTTPConnection("127.0.0.1", dmrc.port, timeout=60)
    body = {"model": "llm", "messages": [{"role": "user", "content": "hi"}]}
    connection.request("POST", "/v1/chat/completions", json.dumps(body), {"authorization": f"Bearer {key}"})
    answer = json.loads(connection.getresponse().read())["error"]["message"]
    connection.close()

    written = next((dmrc.home / "ray").glob("dmrc-*.yaml"))
    assert f"its configuration is in {written}" in answer
    assert "serve deploy" in answer
    (application,) = yaml.safe_load(written.read_text())["applications"]
    assert application["import_path"] == "ray.serve.llm:build_openai_app"
    assert application["args"]["llm_configs"][0]["engine_kwargs"]["tensor_parallel_size"] == 2
