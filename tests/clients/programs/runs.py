"""Runs of agents, two users at once, none of which says who it is: `runs.py loop|langgraph|agents|responses|services`.

Each run is marked by a header `x-run`, which dmrc records and does not read, so that a test can tell what belongs
together. Needs DMRC_URL, KEY_WEB, KEY_API and RUNS. Prints one JSON object.
"""

import asyncio
import json
import os
import sys
import threading
from typing import Annotated, Any

import openai

URL, MODEL = f"{os.environ['DMRC_URL']}/engines/v1", "agent"
KEYS = {"web": os.environ["KEY_WEB"], "api": os.environ["KEY_API"]}
RUNS = int(os.environ["RUNS"])


def find(text: str) -> str:
    """Find something."""
    return f"Found: {len(text)} things."


def check(text: str) -> str:
    """Check something."""
    return "It is right."


TOOLS = {"find": find, "check": check}
OFFERED = [
    {"type": "function", "function": {"name": name, "description": tool.__doc__, "parameters": {
        "type": "object", "properties": {"text": {"type": "string"}}, "required": ["text"]}}}
    for name, tool in TOOLS.items()
]  # fmt: skip


def client(run: int | str, service: str = "web") -> openai.OpenAI:
    return openai.OpenAI(base_url=URL, api_key=KEYS[service], default_headers={"x-run": str(run)}, max_retries=0)


def ask(asking: openai.OpenAI, messages: list[dict[str, Any]], **more: Any) -> dict[str, Any]:
    answer = asking.chat.completions.create(model=MODEL, messages=messages, **more).choices[0].message
    return answer.model_dump(exclude_none=True)


def loop(run: int) -> None:
    """The loop that most write themselves: tools until there are words, then more turns, streamed."""
    asking = client(run)
    messages: list[dict[str, Any]] = [{"role": "user", "content": f"Look into matter {run} [find, check, find]"}]
    while calls := (answer := ask(asking, messages, tools=OFFERED)).get("tool_calls"):
        results = [
            {"role": "tool", "tool_call_id": one["id"],
             "content": TOOLS[one["function"]["name"]](**json.loads(one["function"]["arguments"]))}
            for one in calls
        ]  # fmt: skip
        messages += [answer, *results]
    for turn in range(2):
        messages += [answer, {"role": "user", "content": f"Go on with turn {turn}"}]
        chunks = asking.chat.completions.create(model=MODEL, messages=messages, stream=True)
        text = "".join(one.choices[0].delta.content or "" for one in chunks if one.choices)
        answer = {"role": "assistant", "content": text}


def greeting(run: int) -> None:
    """A chat that begins as all chats do, with the answer that all get."""
    asking = client(run)
    messages: list[dict[str, Any]] = [{"role": "user", "content": f"I am guest {run // 2}, say again"}]
    for turn in range(4):
        messages += [ask(asking, messages), {"role": "user", "content": f"Go on, {turn} times {run}"}]


def langgraph(run: int) -> None:
    """A loop with tools, and, as a run of its own, a supervisor that hands over to two agents."""
    from langchain.agents import create_agent
    from langchain_core.messages import HumanMessage, ToolMessage
    from langchain_core.tools import InjectedToolCallId, tool
    from langchain_openai import ChatOpenAI
    from langgraph.graph import START, MessagesState, StateGraph
    from langgraph.prebuilt import InjectedState
    from langgraph.types import Command

    model, other = (
        ChatOpenAI(base_url=URL, api_key=KEYS["web"], model=MODEL, default_headers={"x-run": f"{run} {what}"})
        for what in ("loop", "supervisor")
    )
    agent = create_agent(model, [find, check], system_prompt="You look into matters.")
    agent.invoke({"messages": [HumanMessage(f"Look into matter {run} [find, check]")]})

    def handoff(name: str) -> Any:
        @tool(f"transfer_to_{name}", description=f"Hand over to {name}.")
        def transfer(
            state: Annotated[dict[str, Any], InjectedState], tool_call_id: Annotated[str, InjectedToolCallId]
        ) -> Command:
            done = ToolMessage(f"Handed over to {name}.", tool_call_id=tool_call_id)
            return Command(goto=name, graph=Command.PARENT, update={"messages": [*state["messages"], done]})

        return transfer

    graph = StateGraph(MessagesState)
    supervisor = create_agent(
        other, [handoff("finder"), handoff("checker")], system_prompt="You lead two agents.", name="supervisor"
    )
    graph.add_node("supervisor", supervisor, destinations=("finder", "checker"))
    graph.add_node("finder", create_agent(other, [find], system_prompt="You find.", name="finder"))
    graph.add_node("checker", create_agent(other, [check], system_prompt="You check.", name="checker"))
    graph.add_edge(START, "supervisor")
    graph.add_edge("finder", "supervisor")
    graph.add_edge("checker", "supervisor")
    script = "[transfer_to_finder, find, transfer_to_checker, check]"
    graph.compile().invoke({"messages": [HumanMessage(f"Have it looked into: matter {run} {script}")]})


def agents(run: int, kind: str = "chat") -> None:
    """Tools, a handoff, and an agent that is called as a tool; then a second turn."""
    from agents import Agent, OpenAIChatCompletionsModel, OpenAIResponsesModel, RunConfig, Runner, function_tool

    asking = openai.AsyncOpenAI(base_url=URL, api_key=KEYS["web"], default_headers={"x-run": str(run)}, max_retries=0)
    model = (OpenAIResponsesModel if kind == "responses" else OpenAIChatCompletionsModel)(MODEL, asking)
    helper = Agent("Helper", instructions="You help.", model=model)
    writer = Agent("writer", instructions="You write.", model=model, tools=[function_tool(check)])
    triage = Agent(
        "triage",
        instructions="You decide.",
        model=model,
        tools=[function_tool(find), helper.as_tool("ask_helper", "Helps.")],
        handoffs=[writer],
    )
    config = RunConfig(tracing_disabled=True)

    async def run_them() -> None:
        script = "[find, ask_helper, transfer_to_writer, check]"
        first = await Runner.run(triage, f"Look into matter {run} {script}", run_config=config)
        turns = [*first.to_input_list(), {"role": "user", "content": "And now in short."}]
        await Runner.run(first.last_agent, turns, run_config=config)

    asyncio.run(run_them())


def chained(run: int) -> None:
    """The Responses, of which each goes on from the one before by its id."""
    asking, previous = client(f"{run} chained"), None
    for turn in range(4):
        answer = asking.responses.create(model=MODEL, input=f"Turn {turn}", previous_response_id=previous)
        previous = answer.id


def responses(run: int) -> None:
    chained(run)
    agents(run, "responses")


def services(run: int) -> None:
    """One service plans and asks another for each step, at the same time; a third prompt puts all together."""
    plan = ask(client(run), [{"role": "user", "content": f"Plan matter {run}"}])["content"]
    steps = [f"{one.strip()}." for one in plan.split(".") if one.strip()]
    found = [""] * len(steps)

    def work(number: int) -> None:
        prompt = [{"role": "system", "content": "You work."}, {"role": "user", "content": f"Do this: {steps[number]}"}]
        found[number] = ask(client(run, "api"), prompt)["content"]

    workers = [threading.Thread(target=work, args=(number,)) for number in range(len(steps))]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    both = "\n".join(f"Result {number}: {text}" for number, text in enumerate(found))
    whole = ask(client(run), [{"role": "user", "content": f"Put this together:\n{both}"}])["content"]
    ask(client(run, "api"), [{"role": "user", "content": f"Translate into French:\n\n{whole}"}])


def main(kind: str) -> None:
    """Have two users run it at once, each one run after the other."""
    failures: list[str] = []

    def user(first: int) -> None:
        for run in range(first, RUNS, 2):
            try:
                globals()[kind](run)
            except Exception as error:
                failures.append(f"run {run}: {error!r}")
                raise

    users = [threading.Thread(target=user, args=(number,)) for number in range(2)]
    for one in users:
        one.start()
    for one in users:
        one.join()
    print(json.dumps({"failures": failures}))


main(sys.argv[1])
