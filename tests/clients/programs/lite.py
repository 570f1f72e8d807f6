"""litellm's ways to us: `lite.py openai|anthropic|ollama_chat`. Prints one JSON object."""

import json
import os
import sys

import litellm

URL, CHATS, CALLS = os.environ["DMRC_URL"], os.environ["CHAT_MODEL"], os.environ["TOOL_MODEL"]
BASES = {"openai": f"{URL}/engines/v1", "anthropic": f"{URL}/anthropic", "ollama_chat": URL}
TOOL = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "description": "Tell the weather of a city.",
        "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
    },
}
ANIMAL = {
    "type": "object",
    "properties": {"name": {"type": "string"}, "legs": {"type": "integer"}},
    "required": ["name", "legs"],
    "additionalProperties": False,
}


def ask(kind: str, model: str, messages: list, **more: object):
    return litellm.completion(
        model=f"{kind}/{model}", api_base=BASES[kind], api_key="none", messages=messages, temperature=0, max_tokens=64,
        num_retries=0, **more,
    )  # fmt: skip


def calls_of(message) -> list:
    return [[one.function.name, json.loads(one.function.arguments)] for one in message.tool_calls or []]


def main(kind: str) -> None:
    hello = [{"role": "user", "content": "Say hello"}]
    asked = [{"role": "user", "content": "What is the weather in Bern?"}]
    whole = ask(kind, CHATS, hello)
    chunks = list(ask(kind, CHATS, hello, stream=True))
    pieces = [chunk.choices[0].delta.content for chunk in chunks if chunk.choices and chunk.choices[0].delta.content]
    call = ask(kind, CALLS, asked, tools=[TOOL]).choices[0].message
    parts = list(ask(kind, CALLS, asked, tools=[TOOL], stream=True))
    streamed = litellm.stream_chunk_builder(parts, messages=asked).choices[0].message
    result = {"role": "tool", "tool_call_id": call.tool_calls[0].id, "content": "sunny"}
    schema = {"type": "json_schema", "json_schema": {"name": "animal", "schema": ANIMAL, "strict": True}}
    animal = ask(kind, CHATS, [{"role": "user", "content": "Name an animal."}], response_format=schema)
    second = ask(kind, CALLS, [*asked, call.model_dump(exclude_none=True), result], tools=[TOOL])
    print(
        json.dumps(
            {
                "chat": whole.choices[0].message.content,
                "tokens": [whole.usage.prompt_tokens, whole.usage.completion_tokens],
                "stream": "".join(pieces),
                "pieces": len(pieces),
                "tool": calls_of(call),
                "tool_stream": calls_of(streamed),
                "second": second.choices[0].message.content,
                "structured": json.loads(animal.choices[0].message.content),
            }
        )
    )


main(sys.argv[1])
