"""LangChain's three ways to us: `langchain.py openai|responses|anthropic|ollama`. Prints one JSON object."""

import json
import os
import sys

from langchain_core.messages import HumanMessage, ToolMessage
from langchain_core.tools import tool
from pydantic import BaseModel

URL, CHATS, CALLS = os.environ["DMRC_URL"], os.environ["CHAT_MODEL"], os.environ["TOOL_MODEL"]
QUESTION = "What is the weather in Bern?"


class Animal(BaseModel):
    """An animal."""

    name: str
    legs: int


@tool
def get_weather(city: str) -> str:
    """Tell the weather of a city."""
    return f"sunny in {city}"


def model(kind: str, name: str):
    if kind == "anthropic":
        from langchain_anthropic import ChatAnthropic

        return ChatAnthropic(
            model=name, base_url=f"{URL}/anthropic", api_key="none", temperature=0, max_tokens=64, max_retries=0
        )
    if kind == "ollama":
        from langchain_ollama import ChatOllama

        return ChatOllama(model=name, base_url=URL, temperature=0, num_predict=64)
    from langchain_openai import ChatOpenAI

    return ChatOpenAI(
        model=name, base_url=f"{URL}/engines/v1", api_key="none", temperature=0, max_tokens=64, max_retries=0,
        use_responses_api=kind == "responses",
    )  # fmt: skip


def by_function(chats) -> object:
    """A structured answer by a tool that must be called; the words of the refusal where it is refused."""
    try:
        return chats.with_structured_output(Animal, method="function_calling").invoke("Name an animal.").model_dump()
    except Exception as error:  # noqa: BLE001 each client has an error of its own
        return str(error)


def main(kind: str) -> None:
    chats, calls = model(kind, CHATS), model(kind, CALLS).bind_tools([get_weather])
    pieces = [chunk.text for chunk in chats.stream("Say hello")]
    asked = [HumanMessage(QUESTION)]
    call = calls.invoke(asked)
    streamed = None
    for chunk in calls.stream(asked):
        streamed = chunk if streamed is None else streamed + chunk
    result = ToolMessage("sunny", tool_call_id=call.tool_calls[0]["id"])
    usage = chats.invoke("Say hello")
    print(
        json.dumps(
            {
                "chat": usage.text,
                "tokens": [usage.usage_metadata["input_tokens"], usage.usage_metadata["output_tokens"]],
                "stream": "".join(pieces),
                "pieces": len([piece for piece in pieces if piece]),
                "tool": [[one["name"], one["args"]] for one in call.tool_calls],
                "tool_stream": [[one["name"], one["args"]] for one in streamed.tool_calls],
                "second": calls.invoke([*asked, call, result]).text,
                "structured": chats.with_structured_output(Animal, method="json_schema")
                .invoke("Name an animal.")
                .model_dump(),
                "by_function": by_function(chats),
            }
        )
    )


main(sys.argv[1])
