"""Two models that think, each with its script: one answers then, the other one calls a tool."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.dmrc_command import Dmrc, temporary_dmrc
from tests.gateway.tools import TEMPLATE
from tests.scripted_gguf import PROMPT_END, THINKING_TEMPLATE, write_scripted_llama

THOUGHT, ANSWER = "A greeting; I greet back.\n", "Hello to you."
_SCRIPT = ["<think>", "\nA greeting", "; I", " greet", " back.", "\n", "</think>", "\n\n", "Hello", " to", " you", "."]
TOKENS, TOKENS_OF_ANSWER = len(_SCRIPT) + 1, 6
_CALLING = ["<think>", "\nI must", " look", ".\n", "</think>", "\n\n", "<tool_call>", '\n{"name": "get_', 'weather"']
_CALLING += [', "arguments": {', '"city": "', "Bern", '"}}', "\n</tool_call>"]
# Its assistant begins with thoughts, and ends a prompt where the script begins.
_CALLING_TEMPLATE = TEMPLATE.replace("<|im_start|>assistant\n", PROMPT_END).replace(
    '{{ message.content or "" }}',
    "{% if message.reasoning_content %}<think>\n{{ message.reasoning_content }}\n</think>\n\n{% endif %}"
    '{{ message.content or "" }}',
)
ASKED = [{"role": "user", "content": "Hi"}]
WEATHER = [{"role": "user", "content": "What is the weather in Bern?"}]


@contextmanager
def thinking_dmrc(directory: Path) -> Iterator[Dmrc]:
    """Serve `local/thinks` and `local/calls`."""
    with temporary_dmrc() as dmrc:
        thinks = write_scripted_llama(directory / "thinks.gguf", _SCRIPT, THINKING_TEMPLATE)
        calls = write_scripted_llama(directory / "calls.gguf", _CALLING, _CALLING_TEMPLATE)
        dmrc.ok("package", "--gguf", thinks, "local/thinks")
        dmrc.ok("package", "--gguf", calls, "local/calls")
        dmrc.ok("run", "--detach", "local/thinks")
        yield dmrc
