"""Lines that a real vLLM 0.32 printed when it did not start, and the sentence that a person gets."""

from __future__ import annotations

from pathlib import Path

import pytest

from dmrc.engines.failures import End, start_failure
from dmrc.engines.vllm.failures import CAUSES
from dmrc.errors import InsufficientMemoryError

END = """(APIServer pid=7)     raise RuntimeError(
RuntimeError: Engine core initialization failed. See root cause above. Failed core proc(s): {'EngineCore': 1}
"""
_CORE = "(EngineCore pid=1120) ERROR 11-27 18:22:23 [core.py:1510] "
_WORKER = "(Worker pid=3759) ERROR 11-27 18:24:36 [multiproc_executor.py:953] "


def failure(log: str) -> Exception:
    return start_failure("ai/m", End("vLLM 0.32.0", 1, None), CAUSES, log + END, Path("m.log"))


@pytest.mark.parametrize(
    ("log", "expected"),
    [
        (
            f"{_WORKER}ValueError: There is no module or parameter named 'layers.1.self_attn.x_proj' in "
            "LlamaModel. The available parameters belonging to layers.1.self_attn (LlamaAttention) are: {'layers.1'}\n",
            "its architecture has no tensor 'layers.1.self_attn.x_proj', which is in the file",
        ),
        (
            "  Value error, Model architectures ['MysteryForCausalLM'] are not supported for now. Supported "
            "architectures: dict_keys(['AfmoeForCausalLM', 'ApertusForCausalLM'])\n",
            "vLLM 0.32.0 does not know the architecture 'MysteryForCausalLM'",
        ),
        (
            "(APIServer pid=5309) ERROR 11-27 18:27:05 [repo_utils.py:126] Error parsing config for /m: The checkpoint "
            "you are trying to load has model type `mystery` but Transformers does not recognize this architecture.\n",
            "vLLM 0.32.0 does not know the model type 'mystery'",
        ),
        ("ValueError: Couldn't instantiate the backend tokenizer from one of: \n", "its tokenizer cannot be read"),
        (
            "  Value error, User-specified max_model_len (100000) is greater than the derived max_model_len "
            "(max_position_embeddings=2048.0 or model_max_length=None in model's config.json).\n",
            "its context_size is above the 2048 tokens that the model was trained for",
        ),
        (
            "importlib.metadata.PackageNotFoundError: No package metadata was found for vllm\n",
            "vLLM is not installed whole: Python finds no package 'vllm'",
        ),
        (
            f"{_CORE}Traceback (most recent call last):\n{_CORE}KeyError: 'rope_type'\n",
            "its engine ended with KeyError: 'rope_type'",
        ),
    ],
)
def test_a_start_that_fails_is_one_sentence(log: str, expected: str) -> None:
    assert str(failure(log)).startswith(f"model 'ai/m' does not start: {expected}")


def test_room_that_is_missing_for_a_context_is_a_want_of_memory() -> None:
    found = failure(
        f"{_CORE}ValueError: To serve at least one request with the model's max seq len (512), (0.5 GiB KV cache is "
        "needed, which is larger than the available KV cache memory (0.1 GiB).\n"
    )

    assert isinstance(found, InsufficientMemoryError)
    assert "there is not enough memory for a context of 512 tokens" in str(found)
