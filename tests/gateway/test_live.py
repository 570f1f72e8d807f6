"""Requests as they start and complete, on a terminal, in a pipe, and in Docker Model Runner's shape."""

import json
import os
import pty
import select
import signal
import subprocess
import threading
import time
from collections.abc import Iterator

import httpx
import pytest

from tests.gateway.conftest import MODEL, Gateway
from tests.polling import eventually

HELLO = [{"role": "user", "content": "Say hello."}]


def ask(gateway: Gateway, service: str | None = "web", text: str = "Say hello.", **more) -> str:
    messages = [{"role": "user", "content": text}]
    raw = gateway.client(service).chat.completions.with_raw_response
    return raw.create(model=MODEL, messages=messages, max_tokens=4, **more).headers["x-dmrc-exchange-id"]


class Follower:
    """`dmrc requests --follow`, and what it printed so far."""

    def __init__(self, gateway: Gateway, *arguments: str, terminal: bool = False) -> None:
        command = [gateway.dmrc.program, "requests", "--follow", *arguments]
        environment = {**gateway.dmrc.environment, "COLUMNS": "100", "TERM": "xterm-256color", "PYTHONUNBUFFERED": "1"}
        master, slave = pty.openpty() if terminal else os.pipe()
        self.process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=slave, stderr=slave, env=environment)
        os.close(slave)
        self.shown = b""
        self._master = master
        self._reader = threading.Thread(target=self._read)
        self._reader.start()

    def _read(self) -> None:
        while select.select([self._master], [], [], 60)[0]:
            try:
                data = os.read(self._master, 65536)
            except OSError:
                break
            if not data:
                break
            self.shown += data

    def sees(self, text: str) -> None:
        eventually(lambda: text.encode() in self.shown, f"'{text}' in what is followed", 150)

    def end(self) -> None:
        self.process.send_signal(signal.SIGINT)
        assert self.process.wait(20) == 130
        self._reader.join(10)
        os.close(self._master)


@pytest.fixture
def follow(gateway: Gateway) -> Iterator[object]:
    followers: list[Follower] = []

    def begin(*arguments: str, terminal: bool = False) -> Follower:
        followers.append(Follower(gateway, *arguments, terminal=terminal))
        return followers[-1]

    yield begin
    for follower in followers:
        follower.end()


def watched(gateway: Gateway) -> None:
    """Wait until the daemon has a follower: what one shows may come before."""
    eventually(lambda: json.loads(gateway.dmrc.ok("status", "--json"))["in_flight"] == 1, "watcher")


def test_a_pipe_gets_a_line_for_each_that_completes_across_a_restart_of_the_daemon(gateway: Gateway, follow) -> None:
    first = ask(gateway)
    eventually(lambda: gateway.exchanges())
    lines = follow("--service", "web")
    lines.sees(first[-8:])
    second = ask(gateway)
    ask(gateway, None)
    lines.sees(second[-8:])

    gateway.dmrc.ok("stop-runner")
    lines.sees("the daemon does not run; waiting for it")
    gateway.dmrc.ok("configure", MODEL, "--", "--predict", "16")  # a model that is told nothing may go on for minutes
    gateway.dmrc.ok("run", MODEL, "Hi")
    third = ask(gateway)
    lines.sees(third[-8:])

    shown = lines.shown.decode()
    assert [shown.count(id[-8:]) for id in (first, second, third)] == [1, 1, 1]
    assert shown.count("facts/") == 0
    assert "dmrc-run" not in shown
    assert "\x1b" not in shown


def test_json_lines_have_what_the_list_has(gateway: Gateway, follow) -> None:
    lines = follow("--json", "-n", "1")
    watched(gateway)
    id = ask(gateway)
    lines.sees(id)
    eventually(lambda: any(one["id"] == id for one in gateway.exchanges()))

    documents = [json.loads(line) for line in lines.shown.splitlines() if line.startswith(b"{")]

    listed = {one["id"]: one for one in gateway.exchanges()}
    # Which conversation a request belongs to is known when it is written, and it is told before that.
    assert listed[id]["conversation_id"] is not None
    assert [one for one in documents if one["id"] == id] == [{**listed[id], "conversation_id": None}]


def test_a_terminal_shows_a_request_while_it_runs_and_then_what_became_of_it(gateway: Gateway, follow) -> None:
    screen = follow(terminal=True)
    watched(gateway)  # who comes later does not hear of its start
    client = gateway.client()
    stream = client.chat.completions.with_raw_response.create(
        model=MODEL, messages=HELLO, stream=True, max_tokens=400, extra_body={"ignore_eos": True}
    )
    id = stream.headers["x-dmrc-exchange-id"]

    screen.sees(id[-8:])
    running = screen.shown.decode()
    assert id[-8:] in running
    assert "→" not in running[running.rindex(id[-8:]) :]
    client.close()
    screen.sees("200×")
    assert "TOOK" in screen.shown.decode()


def test_the_route_of_docker_model_runner_tells_the_last_ten_of_each_model(gateway: Gateway) -> None:
    ids = [ask(gateway) for _ in range(11)]
    eventually(lambda: any(one["id"] == ids[-1] for one in gateway.exchanges()))

    answer = httpx.get(f"{gateway.url}/engines/requests", params={"model": MODEL}).json()

    (group,) = answer
    assert group.keys() == {"count", "model", "config", "records"}
    assert group["count"] == len(group["records"]) == 10
    assert group["model"].startswith("sha256:")
    assert group["config"] == {"context-size": 512}
    assert [record["id"] for record in group["records"]] == ids[1:]
    record = group["records"][-1]
    assert record.keys() >= {"id", "model", "method", "url", "request", "response", "timestamp", "status_code"}
    assert (record["model"], record["status_code"], record["method"]) == (MODEL, 200, "POST")
    assert json.loads(record["request"])["messages"] == HELLO
    assert json.loads(record["response"])["object"] == "chat.completion"
    assert abs(record["timestamp"] - time.time()) < 120
    assert record["user_agent"].startswith("OpenAI/Python")
    assert httpx.get(f"{gateway.url}/engines/requests", params={"model": "none"}).json() == []


def test_a_services_key_shows_its_project_alone(gateway: Gateway) -> None:
    nobody = ask(gateway, None, text="Nobody asks.")
    mine = ask(gateway)
    eventually(lambda: {nobody, mine} <= {str(one["id"]) for one in gateway.exchanges()})

    def seen(**headers: str) -> set[str]:
        groups = httpx.get(f"{gateway.url}/engines/requests", headers=headers).json()
        return {record["id"] for group in groups for record in group["records"]}

    assert {nobody, mine} <= seen()
    assert mine in seen(authorization=f"Bearer {gateway.keys['web']}")
    assert nobody not in seen(authorization=f"Bearer {gateway.keys['web']}")
    unknown = httpx.get(f"{gateway.url}/engines/requests", headers={"authorization": "Bearer sk-dmrc-nobody"})
    assert unknown.status_code == 401
    page = httpx.get(f"{gateway.url}/engines/requests", headers={"origin": "http://localhost:3000"})
    assert page.status_code == 403


def test_the_stream_of_docker_model_runner_brings_the_past_and_what_comes(gateway: Gateway) -> None:
    import openai

    past = ask(gateway)
    eventually(lambda: any(one["id"] == past for one in gateway.exchanges()))
    parameters = {"include_existing": "true", "model": MODEL}
    accept = {"accept": "text/event-stream"}
    seen: list[tuple[str, object]] = []

    with httpx.stream(
        "GET", f"{gateway.url}/engines/requests", params=parameters, headers=accept, timeout=60
    ) as answer:
        name = ""
        for line in answer.iter_lines():
            if line.startswith("event: "):
                name = line[7:]
            elif line.startswith("data: "):
                seen.append((name, json.loads(line[6:])))
                if name == "connected":
                    ask(gateway, "web", stream=False)
                    with pytest.raises(openai.BadRequestError):
                        gateway.client().chat.completions.create(
                            model=MODEL, messages=[{"role": "user", "content": "word " * 600}]
                        )
            if sum(name == "new_request" for name, _ in seen) == 2:
                break

    existing = [data[0]["records"][0]["id"] for name, data in seen if name == "existing_request"]
    done, failed = [data[0]["records"][0] for name, data in seen if name == "new_request"]
    assert past in existing
    assert ("connected", {"status": "connected"}) in seen
    assert (done["status_code"], failed["status_code"]) == (200, 400)
    assert "response" not in failed
    assert "exceed" in failed["error"]


def test_the_daemon_ends_at_once_though_somebody_watches(gateway: Gateway, follow) -> None:
    watching = follow()
    ask(gateway)
    watching.sees("shop/web")
    started = time.monotonic()

    gateway.dmrc.ok("stop-runner")

    assert time.monotonic() - started < 20
