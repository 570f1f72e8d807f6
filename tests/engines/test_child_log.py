"""What of an engine's words reaches its log: never a word of a request, and always why it does not start."""

from __future__ import annotations

import asyncio
import os
import time
from pathlib import Path
from typing import Any

import pytest

from dmrc.engines.child_log import ChildLog, without_requests
from tests.engines.child import Child, real_child

WORD = "Xanadu4711"

# Faults of a caller that llama.cpp's server answers with words of the request, and prints.
FAULTS: dict[str, tuple[str, dict[str, Any]]] = {
    "arguments of a tool": (
        "/v1/chat/completions",
        {
            "messages": [
                {"role": "user", "content": "hi"},
                {
                    "role": "assistant",
                    "tool_calls": [{"id": "1", "type": "function", "function": {"name": "f", "arguments": WORD}}],
                },
            ]
        },
    ),
    "a grammar": ("/v1/completions", {"prompt": "x", "grammar": f'root ::= "\n{WORD} ::=\n{WORD}'}),
    "a schema": ("/v1/completions", {"prompt": "x", "json_schema": {"type": WORD}}),
    "a part of a message": (
        "/v1/chat/completions",
        {"messages": [{"role": "user", "content": [{"type": WORD, "text": WORD}]}]},
    ),
    "a role": ("/v1/chat/completions", {"messages": [{"role": 3, "content": WORD}]}),
    "a tool": ("/v1/chat/completions", {"messages": [{"role": "user", "content": "x"}], "tools": [{"type": WORD}]}),
    "a choice": ("/v1/chat/completions", {"messages": [{"role": "user", "content": "x"}], "tool_choice": WORD}),
}


def test_no_word_of_a_request_reaches_the_log_of_its_engine(tiny: Path, tmp_path: Path) -> None:
    """Issue 16, D1: `srv operator(): got exception: {"error": … "Failed to parse tool call arguments as JSON: …"`."""

    async def use(child: Child) -> int:
        quoted = 0
        for path, body in FAULTS.values():
            answer = await child.client.post(path, json={**body, "max_tokens": 1})
            quoted += WORD in answer.text
        deadline = time.monotonic() + 20
        while "may quote a request" not in child.process.log_tail() and "…" not in child.process.log_tail():
            assert time.monotonic() < deadline
            await asyncio.sleep(0.02)
        return quoted

    quoted = real_child(tmp_path, use, gguf=tiny)

    log = (tmp_path / "e.log").read_text()
    assert quoted >= 2, "the engine quotes nothing any more, so nothing is shown by this test"
    assert WORD not in log
    assert "got exception …" in log
    assert "n_ctx" in log, "what it says of itself must stay"


@pytest.mark.parametrize(
    ("line", "kept"),
    [
        (
            'srv    operator(): got exception: {"error":{"message":"the prompt"}}',
            "srv    operator(): got exception …",
        ),
        (
            "0.01.234.567 E slot x: id 0 | task 1 | got exception: the prompt",
            "0.01.234.567 E slot x: id 0 | task 1 | got exception …",
        ),
        (
            "slot print_timing: id  0 | task 3 | prompt eval time =  12.34 ms /  33 tokens ( 0.37 ms per token)",
            "slot print_timing: id  0 | task 3 | prompt eval time =  12.34 ms /  33 tokens ( 0.37 ms per token)",
        ),
        (
            "slot process_toke: id 0 | task 0 | n_decoded = 1, next token:   253 ' the'",
            "slot process_toke: id 0 | task 0 | n_decoded = 1, next token …",
        ),
        (
            "srv  stop: stop on unknown stream session, conv_id=the-prompt",
            "srv  stop: stop on unknown stream session, conv_id …",
        ),
        ("parse: error parsing grammar: expecting ::= at the prompt", None),
        ("the prompt, second line", None),
        ("anthropic string not as expected: the prompt", None),
        (
            "ggml_cuda_alloc_buffer: allocating 12 MiB on device 0: cudaMalloc failed: out of memory",
            "ggml_cuda_alloc_buffer: allocating 12 MiB on device 0 … out of memory",
        ),
        (
            "/src/ggml/src/ggml.c:3180: GGML_ASSERT(n > 0) failed",
            "/src/ggml/src/ggml.c:3180: GGML_ASSERT(n > 0) failed",
        ),
        (
            "terminate called after throwing an instance of 'std::runtime_error'",
            "terminate called after throwing an instance of …",
        ),
        ("  what():  the prompt", None),
        ("ValueError: the prompt", "ValueError:"),
        ('  File "/lib/x.py", line 3, in answer', '  File "/lib/x.py", line 3, in answer'),
    ],
)
def test_of_a_line_that_may_quote_a_request_only_its_beginning_is_kept(line: str, kept: str | None) -> None:
    assert without_requests(line) == kept


def test_a_line_of_a_start_is_kept_and_its_secrets_are_not(tmp_path: Path) -> None:
    log = ChildLog(tmp_path / "e.log", lambda line: line.replace("hunter2", "[redacted]"))
    writing = log.open()

    os.write(writing, b"error: invalid argument: --x\nexample_format: 'use hunter2'\n\nhalf")
    os.close(writing)
    log.wait_end(5)

    expected = "error: invalid argument: --x\nexample_format: 'use [redacted]'\n\nhalf\n"
    assert (tmp_path / "e.log").read_text() == log.tail() == expected


def test_a_child_goes_on_where_its_log_cannot_be_written(tmp_path: Path) -> None:
    log = ChildLog(tmp_path / "absent" / "e.log")
    writing = log.open()

    for _ in range(100):  # more than a pipe holds
        os.write(writing, b"x" * 4095 + b"\n")
    os.close(writing)
    log.wait_end(5)

    assert log.read_bytes == 100 * 4096


def test_a_line_that_cannot_be_masked_is_left_out_and_the_next_one_is_not(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Nobody else empties the pipe: the engine stood still when it was full."""

    def mask(line: str) -> str:
        if "bad" in line:
            raise RecursionError(line)
        return line

    log = ChildLog(tmp_path / "e.log", mask)
    writing = log.open()

    os.write(writing, b"a bad line with words\na good one\n")
    os.close(writing)
    log.wait_end(5)

    assert log.tail() == "dmrc: left out 1 line that may quote a request\na good one\n"
    assert "RecursionError" in caplog.text
    assert "words" not in caplog.text
