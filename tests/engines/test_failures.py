"""Real lines of llama.cpp's log, and the sentence that a person gets."""

import signal
from pathlib import Path

import pytest

from dmrc.engines.failures import End, start_failure
from dmrc.engines.llama_cpp.failures import CAUSES
from dmrc.errors import EngineStartError, InsufficientMemoryError

END = (
    "0.00.007.350 E srv          init: exiting due to model loading error\n"
    "Failed to init server, please check the input params.\n"
)


def sentence(log: str, exit_code: int = 1) -> str:
    return str(start_failure("ai/m", End("llama-server", exit_code, None), CAUSES, log + END, Path("m.log")))


@pytest.mark.parametrize(
    ("log", "expected"),
    [
        (
            "0.00.013.556 E llama_model_load: error loading model: unknown model architecture: 'mystery'\n",
            "llama-server does not know the architecture 'mystery'",
        ),
        (
            "0.00.006.910 E gguf_init_from_reader: invalid magic characters: 'hell', expected 'GGUF'\n",
            "the file is not GGUF",
        ),
        ("0.00.007.437 E gguf_init_from_reader: failed to read magic\n", "the file is not GGUF"),
        (
            "E gguf_init_from_reader: this GGUF file is version 99 but this software only supports up to version 3\n"
            "E gguf_init_from_reader: failed to read header\n",
            "llama-server does not read GGUF files of version 99",
        ),
        (
            "0.00.006.673 E gguf_init_from_reader: failed to read key-value pairs\n",
            "the file is shorter than its header says",
        ),
        (
            "E llama_model_load: error loading model: tensor 'output.weight' data is not within the file bounds, "
            "model is corrupted or incomplete\n",
            "the file is shorter than its header says",
        ),
        (
            "E gguf_init_from_file: failed to open GGUF file '/m.gguf' (No such file or directory)\n",
            "a file of the model cannot be opened: No such file or directory",
        ),
        (
            "E llama_model_load: error loading model: check_tensor_dims: tensor 'blk.1.attn_v.weight' not found\n",
            "the file has no tensor 'blk.1.attn_v.weight'",
        ),
        ("error loading model: missing tensor 'output_norm.weight'\n", "the file has no tensor 'output_norm.weight'"),
        (
            "error loading model: check_tensor_dims: tensor 'token_embd.weight' has wrong shape; expected 64, 8, "
            "got 64, 9\n",
            "its tensors are not those of its architecture (token_embd.weight)",
        ),
        (
            "error loading model: error loading model vocabulary: unknown pre-tokenizer type: 'newest'\n",
            "its tokenizer cannot be read: unknown pre-tokenizer type: 'newest'",
        ),
        (
            "error loading model: error loading model vocabulary: key not found in model: tokenizer.ggml.model\n",
            "its tokenizer cannot be read: key not found in model: tokenizer.ggml.model",
        ),
        (
            "E common_chat_templates_init: error: Unexpected token: %} of type 9\n"
            "E srv          init: init: chat template parsing error: std::exception\n",
            "its chat template cannot be parsed",
        ),
        ("E srv  couldn't bind HTTP server socket, hostname: /m.sock, port: 8080\n", "its socket is taken"),
        ("error: invalid argument: --no-mmap\n", "llama-server does not know the flag '--no-mmap'"),
        (
            "0.00.009.233 E llama_init_from_model: quantized V cache requires flash_attn to be enabled\n",
            "a quantised V cache needs Flash Attention, which is off here",
        ),
        (
            "0.1 E srv load_model: something new happened\n",
            "exit code 1 (0.1 E srv load_model: something new happened)",
        ),
    ],
)
def test_a_cause_in_the_log_becomes_a_sentence(log: str, expected: str) -> None:
    found = sentence(log)

    assert found.startswith("model 'ai/m' does not start: ")
    assert expected in found
    assert found.endswith("The log: m.log")


def test_the_end_of_the_log_goes_with_the_error() -> None:
    error = start_failure(
        "ai/m", End("llama-server", 1, None), CAUSES, "\n".join(map(str, range(20))) + "\n\n" + "x" * 999, Path("m.log")
    )

    assert error.log_tail == ("16", "17", "18", "19", "x" * 200)


@pytest.mark.parametrize(
    "log",
    [
        "0.56.339.483 E ggml_aligned_malloc: insufficient memory (attempted to allocate 8789062.50 MB)\n",
        "ggml_backend_cpu_buffer_type_alloc_buffer: failed to allocate buffer of size 9216000000000\n",
        "ggml_backend_cuda_buffer_type_alloc_buffer: allocating 8148.38 MiB on device 0: "
        "cudaMalloc failed: out of memory\n",
        "ggml_gallocr_reserve_n: failed to allocate CUDA0 buffer of size 327680000\n",
        "ggml_vulkan: Device memory allocation of size 2147483648 failed.\n"
        "ggml_vulkan: vk::Device::allocateMemory: ErrorOutOfDeviceMemory\n",
        "ggml_metal_graph_compute: command buffer 0 failed with status 5\n"
        "error: Insufficient Memory (00000008:kIOGPUCommandBufferCallbackErrorOutOfMemory)\n",
        "terminate called after throwing an instance of 'std::bad_alloc'\n",
    ],
)
def test_missing_memory_is_an_error_of_its_own(log: str) -> None:
    error = start_failure("ai/m", End("llama-server", 1, None), CAUSES, log + END, Path("m.log"))

    assert isinstance(error, InsufficientMemoryError)
    assert "there is not enough memory for it. Choose a smaller context_size" in str(error)
    assert error.http_status == 503


@pytest.mark.parametrize(
    ("number", "out_of_memory", "kind", "expected"),
    [
        (signal.SIGILL, None, EngineStartError, "llama-server was built for another processor"),
        (signal.SIGKILL, True, InsufficientMemoryError, "the system killed it for want of memory"),
        (signal.SIGKILL, False, EngineStartError, "it was killed (SIGKILL), and not for want of memory"),
        (signal.SIGKILL, None, InsufficientMemoryError, "by the system for want of memory or by somebody"),
        (signal.SIGSEGV, None, EngineStartError, "llama-server crashed"),
        (signal.SIGABRT, None, EngineStartError, "llama-server aborted"),
        (signal.SIGHUP, None, EngineStartError, "llama-server ended with exit code -1"),
    ],
)
def test_a_signal_tells_what_the_log_does_not(
    number: int, out_of_memory: bool | None, kind: type[Exception], expected: str
) -> None:
    error = start_failure("ai/m", End("llama-server", -number, out_of_memory), CAUSES, "", Path("m.log"))

    assert isinstance(error, kind)
    assert expected in str(error)
