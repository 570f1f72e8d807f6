"""Who gets which of the recorded answers: by service, by content, equal requests in their order, a retry the same."""

from __future__ import annotations

import json
import random
import socket
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest

from dmrc.projects import Projects, Registration
from tests.replay.echoing import Echo
from tests.replay.stage import Side, Stage

pytestmark = pytest.mark.process

USERS = ("web", "other")
RUNS, PROMPTS, TURNS = 100, 3, 2
CUT = "a long answer to a question whose asker hangs up"


def ask(client: httpx.Client, words: str, **more: object) -> str:
    answer = client.post("chat/completions", json=_body(words, **more))
    assert answer.status_code == 200, answer.text
    return str(answer.json()["choices"][0]["message"]["content"])


def _body(words: str, **more: object) -> dict[str, object]:
    return {"model": "local/echo", "messages": [{"role": "user", "content": words}], **more}


def client_of(side: Side, service: str) -> httpx.Client:
    headers = {"authorization": f"Bearer {side.keys[service]}"}
    return httpx.Client(base_url=f"{side.url}/engines/v1/", headers=headers, timeout=60)


def hang_up(client: httpx.Client) -> None:
    """Ask, and end the connection before the first piece of the answer comes."""
    body = json.dumps(_body(CUT, stream=True)).encode()
    request = client.build_request("POST", "chat/completions", content=body)
    head = "".join(f"{name}: {value}\r\n" for name, value in request.headers.items())
    with socket.create_connection((request.url.host, request.url.port)) as connection:
        connection.sendall(f"POST {request.url.path} HTTP/1.1\r\n{head}\r\n".encode() + body)


def streamed(client: httpx.Client, words: str, *, pieces: int | None = None) -> str:
    """Return what a stream says; with `pieces` its asker hangs up after so many."""
    said = []
    with client.stream("POST", "chat/completions", json=_body(words, stream=True)) as answer:
        assert answer.status_code == 200, answer.read()
        for line in answer.iter_lines():
            if line.startswith("data: {"):
                said.append(json.loads(line[6:])["choices"][0]["delta"].get("content", ""))
            if len(said) == pieces:
                break
    return "".join(said)


def talk(client: httpx.Client, prompts: Sequence[str], *, is_cut: bool) -> dict[str, list[str]]:
    """Ask each of the prompts, in turns, and return what was said to each, in order."""
    said: dict[str, list[str]] = {prompt: [] for prompt in prompts}
    for prompt in prompts:
        said[prompt].append(ask(client, prompt))
    if is_cut:
        hang_up(client)
    said[CUT] = [streamed(client, CUT), streamed(client, CUT)]
    return said


def registration(side: Side) -> Registration:
    projects = Projects(side.dmrc.home / "projects.sqlite3")
    try:
        found = projects.find(side.name)
    finally:
        projects.close()
    assert found is not None
    return found


def test_two_users_in_any_order_with_retries_get_the_right_answers_in_all_of_100_runs(stage: Stage, echo: Echo) -> None:
    """Each prompt is asked twice by each, and no two answers are the same."""
    prompts = [f"question {number}" for number in range(PROMPTS)] * TURNS
    models = {"llm": echo.model}
    stage.recording.begin("record", models, services=USERS)
    echo.first_pause_seconds = 0.03
    recorded = {}
    for user in USERS:
        with client_of(stage.recording, user) as client:
            recorded[user] = talk(client, prompts, is_cut=False)
    echo.first_pause_seconds = 0
    stage.recording.report()
    asked = len(echo.asked)

    stage.replaying.begin("replay", models, services=USERS, replay={"speed": 1})
    run, daemon = registration(stage.replaying), stage.replaying.dmrc.daemon_client()
    dice = random.Random(20)
    wrong = []
    clients = {user: client_of(stage.replaying, user) for user in USERS}
    with ThreadPoolExecutor(len(USERS)) as threads, clients["web"], clients["other"]:
        for _ in range(RUNS):
            daemon.request("PUT", f"/projects/{run.name}", run.to_json())
            talks = []
            for user in USERS:
                shuffled = dice.sample(prompts, len(prompts))
                talks.append(threads.submit(talk, clients[user], shuffled, is_cut=True))
            replayed = {user: each.result() for user, each in zip(USERS, talks, strict=True)}
            if replayed != recorded:
                wrong.append(replayed)

    assert wrong == []
    assert len(echo.asked) == asked


def test_a_stream_that_is_cut_in_its_middle_is_there_for_the_retry(stage: Stage, echo: Echo) -> None:
    models = {"llm": echo.model}
    stage.recording.begin("record", models)
    echo.pause_seconds = 0.25  # a second to hang up in
    with client_of(stage.recording, "web") as client:
        recorded = [streamed(client, "a cut, in the middle"), streamed(client, "a cut, in the middle")]
    echo.pause_seconds = 0
    stage.recording.report()

    stage.replaying.begin("replay", models, replay={"speed": 1})
    with client_of(stage.replaying, "web") as client:
        beginning = streamed(client, "a cut, in the middle", pieces=1)
        replayed = [streamed(client, "a cut, in the middle") for _ in recorded]

    assert replayed == recorded
    assert recorded[0].startswith(beginning)
    assert stage.replaying.report()["services"]["web"]["used"] == {"2": 1, "3": 1}


def test_an_answer_that_is_asked_for_too_often_is_the_last_one_and_is_reported(stage: Stage, echo: Echo) -> None:
    models = {"llm": echo.model}
    stage.recording.begin("record", models)
    with client_of(stage.recording, "web") as client:
        recorded = [ask(client, "more"), ask(client, "more")]
    stage.recording.report()

    stage.replaying.begin("replay", models)
    with client_of(stage.replaying, "web") as client:
        replayed = [ask(client, "more") for _ in range(4)]

    assert replayed == [*recorded, recorded[-1], recorded[-1]]
    assert stage.replaying.report()["services"]["web"]["repeated"] == 2


def test_a_changed_prompt_is_refused_by_name_in_each_clients_own_error(stage: Stage, echo: Echo) -> None:
    import anthropic
    import ollama
    import openai

    models = {"llm": echo.model}
    stage.recording.begin("record", models)
    said = [{"role": "user", "content": "Tell me about whales."}]
    stage.recording.openai().chat.completions.create(model="local/echo", messages=said)
    stage.recording.openai().responses.create(model="local/echo", input="Tell me about whales.")
    stage.recording.anthropic().messages.create(model="local/echo", max_tokens=9, messages=said)
    stage.recording.ollama().chat("local/echo", said)
    stage.recording.report()
    asked = len(echo.asked)

    stage.replaying.begin("replay", models)
    other = [{"role": "user", "content": "Tell me about sharks."}]
    failures = []
    for call in (
        lambda: stage.replaying.openai().chat.completions.create(model="local/echo", messages=other),
        lambda: stage.replaying.openai().chat.completions.create(model="local/echo", messages=other, stream=True),
        lambda: stage.replaying.openai().responses.create(model="local/echo", input="Tell me about sharks."),
        lambda: stage.replaying.anthropic().messages.create(model="local/echo", max_tokens=9, messages=other),
        lambda: stage.replaying.ollama().chat("local/echo", other),
    ):
        with pytest.raises((openai.APIStatusError, anthropic.APIStatusError, ollama.ResponseError)) as raised:
            call()
        failures.append(raised.value)

    for failure in failures:
        assert failure.status_code == 422
        for word in ("web", "web.jsonl:", "whales", "sharks"):
            assert word in str(failure), str(failure)
    assert isinstance(failures[0], openai.UnprocessableEntityError)
    assert isinstance(failures[3], anthropic.UnprocessableEntityError)
    misses = stage.replaying.report()["misses"]
    assert len(misses) == len(failures)
    assert all("whales" in miss["difference"]["recorded"] for miss in misses)
    assert all("sharks" in miss["difference"]["asked"] for miss in misses)
    assert len(echo.asked) == asked
    assert stage.replaying.engines() == []
