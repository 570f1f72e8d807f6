"""What of the user's shell reaches an engine child."""

from __future__ import annotations

import asyncio
from pathlib import Path

import psutil
import pytest

from dmrc.engines.environment import child_environment
from dmrc.engines.llama_cpp.engine import LlamaCpp
from tests.engines.child import launch_in, started

_SECRETS = {
    "OPENAI_API_KEY": "sk-1",
    "HF_TOKEN": "hf_2",
    "AWS_SECRET_ACCESS_KEY": "aws3",
    "MYTOKEN": "my4",
    "DATABASE_URL": "postgres://u:p5@db",
    "LLAMA_API_KEY": "llama6",
    "GGML_API_KEY": "ggml7",
    "CUDA_PASS": "cuda8",
    "OMP_AUTH": "omp9",
    "DMRC_HOME": "/home8",
    "HTTPS_PROXY": "http://u:p9@proxy",
}
_NEEDED = {
    **{"PATH": "/usr/bin", "HOME": "/home/me", "LANG": "C.UTF-8", "LC_ALL": "C", "TZ": "UTC", "TMPDIR": "/tmp"},
    **{"LD_LIBRARY_PATH": "/opt/lib", "OMP_NUM_THREADS": "2", "GOMP_CPU_AFFINITY": "0", "KMP_BLOCKTIME": "0"},
    **{"CUDA_VISIBLE_DEVICES": "0", "NVIDIA_VISIBLE_DEVICES": "all", "HIP_VISIBLE_DEVICES": "0", "HSA_X": "1"},
    **{"ROCR_VISIBLE_DEVICES": "0", "GGML_VK_VISIBLE_DEVICES": "0", "VK_ICD_FILENAMES": "/x", "MESA_DEBUG": "1"},
    **{"PYTHONPATH": "/work", "VIRTUAL_ENV": "/venv"},
}


def test_a_child_gets_what_it_needs_and_no_secret() -> None:
    got = child_environment({**_SECRETS, **_NEEDED})

    assert {name: value for name, value in got.items() if name in _NEEDED} == _NEEDED
    assert not _SECRETS.keys() & got.keys()


def test_no_key_and_no_token_is_in_the_environment_of_a_real_child(
    tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in _SECRETS.items():
        monkeypatch.setenv(name, value)

    async def run() -> str:
        async with started(launch_in(tmp_path, gguf=tiny), LlamaCpp(None)) as process:
            await process.wait_ready()
            children = [psutil.Process(process.pid), *psutil.Process(process.pid).children(recursive=True)]
            return "".join(Path(f"/proc/{child.pid}/environ").read_text() for child in children)

    environment = asyncio.run(run())

    assert "PATH=" in environment
    for name, value in _SECRETS.items():
        assert name not in environment
        assert value not in environment
