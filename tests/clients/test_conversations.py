"""The requests of frameworks, which say nothing of conversations, are joined to those that they belong to."""

from __future__ import annotations

import json
import os
import subprocess
from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from dmrc.capture.database import ExchangeDatabase
from dmrc.capture.queries import ExchangeFilter
from tests.clients.agent_server import AgentServer, agent_server
from tests.clients.conftest import PROGRAMS, installed_python
from tests.dmrc_command import Dmrc, temporary_dmrc
from tests.polling import eventually

pytestmark = pytest.mark.timeout(900)

COMPOSE = """
name: crew
models:
  agent: {{model: agent, x-dmrc: {{upstream: {{url: "{url}", model: agent}}}}}}
services:
  web: {{image: none, models: [agent]}}
  api: {{image: none, models: [agent]}}
"""


@dataclass(frozen=True)
class Crew:
    """A project of two services before the scripted server."""

    dmrc: Dmrc
    keys: dict[str, str]
    server: AgentServer
    python: Path

    def run(self, kind: str, runs: int) -> None:
        environment = {
            **{name: value for name, value in os.environ.items() if not name.lower().endswith("_proxy")},
            "DMRC_URL": f"http://127.0.0.1:{self.dmrc.port}",
            "KEY_WEB": self.keys["web"],
            "KEY_API": self.keys["api"],
            "RUNS": str(runs),
            "LANGSMITH_TRACING": "false",
        }
        argv = [str(self.python), "-P", str(PROGRAMS / "runs.py"), kind]
        done = subprocess.run(argv, env=environment, capture_output=True, text=True, timeout=240, check=False)
        assert done.returncode == 0, done.stderr
        assert json.loads(done.stdout.splitlines()[-1]) == {"failures": []}, done.stderr

    def conversations(self) -> dict[str, tuple[str, str | None]]:
        """Return the run and the conversation of each recorded request."""
        database = ExchangeDatabase(self.dmrc.home / "exchanges.sqlite3")
        eventually(lambda: database.count() == self.server.answered)
        pages = [database.get(id) for id in database.ids(ExchangeFilter())]
        return {one.id: (one.request_headers["x-run"], one.conversation_id) for one in pages}


@pytest.fixture(scope="module")
def crew(tmp_path_factory: pytest.TempPathFactory, needs_clients: None) -> Iterator[Crew]:
    directory = tmp_path_factory.mktemp("crew")
    with temporary_dmrc() as dmrc, agent_server() as server:
        (directory / "compose.yaml").write_text(COMPOSE.format(url=server.url))
        keys = {}
        for service in ("web", "api"):
            done = dmrc.run("env", service, "--format", "json", cwd=directory)
            assert done.returncode == 0, done.stderr
            keys[service] = json.loads(done.stdout)["OPENAI_API_KEY"]
        yield Crew(dmrc, keys, server, installed_python())


ALIKE = 0.75
"""Two who said the same at once, and had the same answer, cannot be told apart: their second turns begin anew."""


@pytest.mark.parametrize(
    ("kind", "runs", "least"),
    [
        ("loop", 12, 0.98),
        ("greeting", 12, ALIKE),
        ("langgraph", 6, 0.98),
        ("agents", 8, 0.98),
        ("responses", 8, 0.98),
        ("services", 10, 0.98),
    ],
)
def test_requests_of_a_run_are_one_conversation_and_of_two_runs_never(
    crew: Crew, kind: str, runs: int, least: float
) -> None:
    before = crew.conversations()

    crew.run(kind, runs)

    found = {id: said for id, said in crew.conversations().items() if id not in before}
    members: dict[str | None, Counter[str]] = defaultdict(Counter)
    for run, conversation in found.values():
        members[conversation][run] += 1
    wrong = sum(counts.total() - max(counts.values()) for counts in members.values())
    best: Counter[str] = Counter()
    for counts in members.values():
        run, count = counts.most_common(1)[0]
        best[run] = max(best[run], count)
    print(f"{kind}: {len(found)} requests of {len(best)} runs, {wrong} wrong, {best.total() / len(found):.1%} right")
    assert wrong == 0
    assert not set(members) & {conversation for _, conversation in before.values()}
    assert best.total() >= least * len(found)
