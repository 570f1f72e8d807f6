"""A tool, and a chat template that knows tools, for a model that is too small to call one by itself."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.dmrc_command import temporary_dmrc
from tests.gateway.conftest import COMPOSE, MODEL, Gateway

TOOL = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
    },
}

# SmolLM2's own template knows no tools.
TEMPLATE = """{%- if tools %}<|im_start|>system
You may call functions. Tools:
<tools>
{%- for tool in tools %}
{{ tool | tojson }}
{%- endfor %}
</tools>
For each call return <tool_call>
{"name": "NAME", "arguments": ARGUMENTS}
</tool_call><|im_end|>
{% endif %}
{%- for message in messages %}
{%- if message.role == "tool" %}<|im_start|>user
<tool_response>
{{ message.content }}
</tool_response><|im_end|>
{% else %}<|im_start|>{{ message.role }}
{{ message.content or "" }}
{%- for call in message.tool_calls or [] %}
<tool_call>
{"name": "{{ call.function.name }}", "arguments": {{ call.function.arguments | tojson }}}
</tool_call>
{%- endfor %}<|im_end|>
{% endif %}
{%- endfor %}
{%- if add_generation_prompt %}<|im_start|>assistant
{% endif %}"""
CALL = """<tool_call>
{"name": "get_weather", "arguments": {"city": "Bern"}}
</tool_call>"""

END_OF_TURN = {"2": 100}
"""As a bias: so small a model calls no tool, so it is made to end the call that it is made to begin."""


@contextmanager
def tooled_gateway(directory: Path, smollm2: Path) -> Iterator[Gateway]:
    """The project of the other tests, with that template."""
    flags = json.dumps(["--temp", "0", "--chat-template", TEMPLATE])
    (directory / "compose.yaml").write_text(COMPOSE.replace('["--temp", "0"]', flags))
    with temporary_dmrc() as dmrc:
        dmrc.ok("package", "--gguf", smollm2, MODEL)
        dmrc.ok("package", "--gguf", smollm2, "--context-size", "256", "local/embedder")
        services = ("web", "other")
        environments = {name: dmrc.ok("env", name, "--format", "json", cwd=directory) for name in services}
        yield Gateway(dmrc, {name: json.loads(text)["OPENAI_API_KEY"] for name, text in environments.items()})
