"""Three real llama-servers as the upstreams of one model: killed under load, before a byte came, and all together."""

from __future__ import annotations

import http.client
import json
import os
import random
import signal
import subprocess
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from tests.dmrc_command import Dmrc
from tests.groups import LLAMA_SERVER
from tests.polling import eventually
from tests.ports import free_port
from tests.tiny_gguf import write_tiny_llama

pytestmark = [pytest.mark.llama_server, pytest.mark.slow("starts and kills three servers")]

KILLS = int(os.environ.get("DMRC_TEST_UPSTREAM_KILLS", "3"))
"""How often one of them is killed under load."""


@dataclass
class Box:
    """One llama-server, which nobody but the test starts."""

    model: Path
    port: int = field(default_factory=free_port)
    process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/v1"

    def start(self) -> None:
        options = ["-m", self.model, "--host", "127.0.0.1", "--port", self.port, "-c", 8192, "-np", 4, "-t", 1]
        with (self.model.parent / f"{self.port}.log").open("ab") as log:
            self.process = subprocess.Popen(
                [str(each) for each in (LLAMA_SERVER, *options, "--device", "none", "--no-warmup")],
                stdout=log,
                stderr=log,
            )

    def signal(self, number: signal.Signals) -> None:
        assert self.process is not None
        self.process.send_signal(number)

    def kill(self) -> None:
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            self.process = None


@dataclass
class Boxes:
    """The project whose one model they serve."""

    dmrc: Dmrc
    directory: Path
    all: Sequence[Box]
    key: str = ""
    asked: list[Asked] = field(default_factory=list)

    def up(self) -> None:
        urls = json.dumps([box.url for box in self.all])
        (self.directory / "compose.yaml").write_text(
            "name: far\nservices: {app: {image: none, models: [llm]}}\n"
            f"models: {{llm: {{model: tiny, x-dmrc: {{parallel: 2, keep_alive: -1, upstream: {urls}}}}}}}\n"
        )
        printed = self.dmrc.ok("env", "app", "--format", "json", cwd=self.directory)
        self.key = json.loads(printed)["OPENAI_API_KEY"]
        eventually(lambda: any(_answers(box) for box in self.all), "one of them answers")
        assert self.ask().is_whole

    def states(self) -> dict[str, tuple[str, int]]:
        """Return state and requests of each, by URL."""
        return {one["name"]: (one["state"], one["in_use"]) for one in self.runner()["replicas"]}

    def runner(self) -> dict[str, Any]:
        (found,) = json.loads(self.dmrc.ok("ps", "--json"))
        return dict(found)

    def wait_ready(self, count: int = 3) -> None:
        def ready() -> bool:
            return [state for state, _ in self.states().values()].count("ready") == count

        eventually(ready, f"{count} are ready", seconds=60)

    def ask(self, tokens: int = 8, session: str | None = None) -> Asked:
        connection = http.client.HTTPConnection("127.0.0.1", self.dmrc.port, timeout=120)
        body = json.dumps({"model": "tiny", "prompt": "ba be", "max_tokens": tokens, "stream": True})
        headers = {"authorization": f"Bearer {self.key}", **({"x-session-id": session} if session else {})}
        connection.request("POST", "/engines/v1/completions", body, headers)
        answer = connection.getresponse()
        text = answer.read().decode()
        connection.close()
        asked = Asked(answer.headers["x-dmrc-exchange-id"], answer.status, text)
        self.asked.append(asked)
        return asked

    def record(self) -> dict[str, dict[str, Any]]:
        """Return all exchanges by their ids, when there are as many as were asked for."""
        count = len(self.asked)

        def found() -> list[dict[str, Any]] | None:
            page = json.loads(self.dmrc.ok("requests", "--json", "-n", "10000"))
            return page if len(page) >= count else None

        page = eventually(found, f"{count} requests are on record")
        assert sorted(one["id"] for one in page) == sorted(one.id for one in self.asked)
        return {one["id"]: one for one in page}


@dataclass(frozen=True)
class Asked:
    """What a caller got."""

    id: str
    status: int
    text: str

    @property
    def is_whole(self) -> bool:
        return self.text.endswith("data: [DONE]\n\n")


@pytest.fixture
def boxes(dmrc: Dmrc, tmp_path: Path) -> Iterator[Boxes]:
    model = write_tiny_llama(tmp_path / "tiny.gguf", context_length=2048)
    with ExitStack() as stack:
        found = [Box(model) for _ in range(3)]
        for box in found:
            stack.callback(box.kill)
        yield Boxes(dmrc, tmp_path, found)


def test_one_killed_under_load_cuts_its_own_streams_and_nothing_else(boxes: Boxes) -> None:
    """`DMRC_TEST_UPSTREAM_KILLS` says how often; it is 3."""
    for box in boxes.all:
        box.start()
    boxes.up()
    boxes.wait_ready()
    is_over = threading.Event()

    def call() -> None:
        while not is_over.is_set():
            boxes.ask(tokens=300)

    callers = [threading.Thread(target=call) for _ in range(8)]
    for caller in callers:
        caller.start()
    try:
        for _ in range(KILLS):
            time.sleep(random.uniform(0.5, 1.5))
            box = random.choice(boxes.all)
            box.kill()
            box.start()
            boxes.wait_ready()
    finally:
        is_over.set()
        for caller in callers:
            caller.join()

    exchanges, asked = boxes.record(), boxes.asked
    urls = {box.url for box in boxes.all}
    assert {one.status for one in asked} == {200}
    for one in asked:
        exchange = exchanges[one.id]
        assert (exchange["service"], exchange["node"]) == ("app", "127.0.0.1")
        assert exchange["replica"] in urls
        assert one.text.count("data: [DONE]") == one.is_whole
        assert (exchange["error_type"] is None) == one.is_whole
        if not one.is_whole:
            assert f"upstream '{exchange['replica']}' broke off" in one.text
            assert f"upstream '{exchange['replica']}' broke off" in exchange["error_message"]
    assert {exchanges[one.id]["replica"] for one in asked} == urls
    cut = [one for one in asked if not one.is_whole]
    assert len(cut) <= 8 * KILLS
    assert all(in_use == 0 for _, in_use in boxes.states().values())


def test_a_request_of_which_no_byte_came_succeeds_elsewhere_and_conversations_stay_where_they_are(boxes: Boxes) -> None:
    for box in boxes.all:
        box.start()
    boxes.up()
    boxes.wait_ready()
    sessions = [f"conversation {number}" for number in range(30)]

    def homes() -> dict[str, str]:
        ids = {session: boxes.ask(session=session).id for session in sessions}
        exchanges = boxes.record()
        return {session: exchanges[each]["replica"] for session, each in ids.items()}

    before = homes()
    assert homes() == before
    assert set(before.values()) == {box.url for box in boxes.all}

    home = next(box for box in boxes.all if box.url == before[sessions[0]])
    home.signal(signal.SIGSTOP)
    caller = threading.Thread(target=lambda: boxes.ask(session=sessions[0]))
    caller.start()
    eventually(lambda: boxes.states()[home.url] == ("ready", 1), "it has the request, and says nothing")
    home.kill()
    caller.join()

    asked = boxes.asked[-1]
    assert (asked.status, asked.is_whole) == (200, True)
    exchange = boxes.record()[asked.id]
    assert exchange["replica"] != home.url
    (in_vain,) = exchange["annotations"]["instead_of"]
    assert in_vain.startswith(f"upstream '{home.url}' broke off or cannot be reached")
    without = homes()
    assert all(without[each] == before[each] for each in sessions if before[each] != home.url)
    home.start()
    boxes.wait_ready()
    assert homes() == before


def test_one_that_starts_slowly_is_no_fault_and_where_all_have_gone_the_error_names_them(boxes: Boxes) -> None:
    first, *others = boxes.all
    first.start()
    boxes.up()
    assert sorted(state for state, _ in boxes.states().values()) == ["ready", "starting", "starting"]
    assert boxes.runner()["parallel"] == 2

    first.signal(signal.SIGSTOP)  # its two answers do not end before the others are there
    callers = [threading.Thread(target=boxes.ask) for _ in range(4)]
    for caller in callers:
        caller.start()
    eventually(lambda: boxes.runner()["waiting"] == 2, "two have its slots, and two wait")
    for box in others:
        box.start()
    eventually(lambda: len(boxes.asked) == 3, "those who waited have their answers")
    assert boxes.states()[first.url] == ("ready", 2)
    first.signal(signal.SIGCONT)
    for caller in callers:
        caller.join()
    assert all(asked.is_whole for asked in boxes.asked)
    boxes.wait_ready()
    assert boxes.runner()["parallel"] == 6
    page = boxes.dmrc.page("/ui/models")
    assert first.url in page
    assert "/ui/logs/" not in page  # what they print is where they run

    for box in boxes.all:
        box.kill()
    refused = boxes.ask()
    assert refused.status == 502
    assert "no upstream of model 'tiny' answers" in refused.text
    assert all(f"upstream '{box.url}' broke off or cannot be reached" in refused.text for box in boxes.all)

    others[0].start()
    eventually(lambda: boxes.ask().is_whole, "it is used as soon as it is back")


def _answers(box: Box) -> bool:
    connection = http.client.HTTPConnection("127.0.0.1", box.port, timeout=5)
    try:
        connection.request("GET", "/health")
        return connection.getresponse().status == 200
    except OSError:
        return False
    finally:
        connection.close()
