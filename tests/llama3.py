"""A model that says two calls of tools in one turn, with a template in the manner of Llama 3, which knows one alone."""

from __future__ import annotations

from pathlib import Path

from tests.scripted_gguf import write_scripted_llama

TWO_CALLS = [
    *('{"name": "get_weather"', ', "parameters": {"city": "Bern"', "}}"),
    *('; {"name": "get_weather" ', ', "parameters": {"city": "Thun"', " }}"),
]
_TEMPLATE = """{%- for message in messages %}
{%- if 'tool_calls' in message and message.tool_calls %}
{%- if message.tool_calls|length != 1 %}{{- raise_exception("only single tool-calls at once!") }}{%- endif %}
{%- set call = message.tool_calls[0].function %}<|start_header_id|>assistant<|end_header_id|>

{{ '{"name": "' + call.name + '", "parameters": ' }}{{ call.arguments | tojson }}{{ "}" }}<|eot_id|>
{%- else %}<|start_header_id|>{{ message.role }}<|end_header_id|>

{%- if message.role == 'user' and tools %}
Respond in the format {"name": function name, "parameters": dictionary of argument name and its value}.
{%- for tool in tools %}
{{ tool | tojson }}
{%- endfor %}
{%- endif %}
{{ message.content }}<|eot_id|>
{%- endif %}
{%- endfor %}
{%- if add_generation_prompt %}<|start_header_id|>assistant<|end_header_id|>

<|assistant|>{% endif %}"""


def write_llama3(path: Path) -> Path:
    """Write the model; return its path."""
    return write_scripted_llama(path, TWO_CALLS, _TEMPLATE)
