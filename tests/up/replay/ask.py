"""What OpenAI's own client gets, byte for byte: a chat, a stream, a tool with its result, structured output."""

import json
import os

from openai import OpenAI

client = OpenAI()
completions = client.chat.completions
hello = {
    "model": os.environ["LLM_MODEL"],
    "max_tokens": 24,
    "messages": [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "What is a whale?"}],
}
ANIMAL = {
    "type": "object",
    "properties": {"name": {"type": "string", "enum": ["cat", "bird"]}, "legs": {"type": "integer", "enum": [2, 4]}},
    "required": ["name", "legs"],
    "additionalProperties": False,
}
TOOL = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
    },
}


def whole(**request: object) -> str:
    return completions.with_raw_response.create(**request).http_response.text


print(whole(**hello))
print([chunk.model_dump_json() for chunk in completions.create(**hello, stream=True)])
with completions.with_streaming_response.create(**hello, stream=True) as answer:
    print([line for line in answer.iter_lines() if line])

schema = {"type": "json_schema", "json_schema": {"name": "animal", "schema": ANIMAL, "strict": True}}
# At a temperature such a small model may fill the answer with spaces, up to its last token.
structured = whole(**{**hello, "max_tokens": 64, "temperature": 0}, response_format=schema)
assert set(json.loads(json.loads(structured)["choices"][0]["message"]["content"])) == {"name", "legs"}
print(structured)

weather = [{"role": "user", "content": "What is the weather in Bern?"}]
calling = {"model": os.environ["CALLS_MODEL"], "tools": [TOOL], "max_tokens": 64}
message = completions.create(**calling, messages=weather).choices[0].message
print(message.model_dump_json())
(call,) = message.tool_calls
assert json.loads(call.function.arguments) == {"city": "Bern"}
result = {"role": "tool", "tool_call_id": call.id, "content": "sunny"}
print(whole(**calling, messages=[*weather, message, result]))
