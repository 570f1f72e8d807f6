"""pydantic-ai's ways to us: `agents.py chat|responses|anthropic`. Prints one JSON object."""

import asyncio
import json
import os
import sys

from pydantic import BaseModel
from pydantic_ai import Agent, NativeOutput, ToolOutput
from pydantic_ai.models.anthropic import AnthropicModel
from pydantic_ai.models.openai import OpenAIChatModel, OpenAIResponsesModel
from pydantic_ai.providers.anthropic import AnthropicProvider
from pydantic_ai.providers.openai import OpenAIProvider

URL, CHATS, CALLS = os.environ["DMRC_URL"], os.environ["CHAT_MODEL"], os.environ["TOOL_MODEL"]
SETTINGS = {"temperature": 0.0, "max_tokens": 64}


class Animal(BaseModel):
    """An animal."""

    name: str
    legs: int


def model(kind: str, name: str):
    if kind == "anthropic":
        return AnthropicModel(name, provider=AnthropicProvider(base_url=f"{URL}/anthropic", api_key="none"))
    provider = OpenAIProvider(base_url=f"{URL}/engines/v1", api_key="none")
    return (OpenAIResponsesModel if kind == "responses" else OpenAIChatModel)(name, provider=provider)


async def main(kind: str) -> None:
    plain = Agent(model(kind, CHATS), model_settings=SETTINGS)
    seen: list[dict[str, object]] = []

    def get_weather(city: str) -> str:
        seen.append({"city": city})
        return "sunny"

    caller = Agent(model(kind, CALLS), model_settings=SETTINGS, tools=[get_weather])
    first = await plain.run("Say hello")
    second = await plain.run("And again", message_history=first.all_messages())
    async with plain.run_stream("Say hello") as run:
        pieces = [piece async for piece in run.stream_text(delta=True, debounce_by=None)]
        usage = run.usage() if callable(run.usage) else run.usage
    used = await caller.run("What is the weather in Bern?")
    async with caller.run_stream("What is the weather in Bern?") as run:
        streamed = await run.get_output()
    output = ToolOutput(Animal) if kind == "anthropic" else NativeOutput(Animal)
    animal = await Agent(model(kind, CHATS), model_settings=SETTINGS, output_type=output).run("Name an animal.")
    print(
        json.dumps(
            {
                "chat": first.output,
                "stream": "".join(pieces),
                "pieces": len(pieces),
                "tokens": [usage.input_tokens, usage.output_tokens],
                "second": second.output,
                "tool": seen,
                "answer": used.output,
                "tool_stream": streamed,
                "structured": animal.output.model_dump(),
            }
        )
    )


asyncio.run(main(sys.argv[1]))
