"""A project whose model is scripted, and whose requests fail on purpose: what the tests of faults share."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import httpx

from dmrc.capture.database import ExchangeDatabase
from dmrc.cli.client import DaemonClient
from dmrc.cli.projects.faults.set import read_words
from dmrc.errors import NotFoundError
from dmrc.exchange import Exchange
from dmrc.project import FaultPlan
from dmrc.settings import Settings
from tests.dmrc_command import Dmrc, temporary_dmrc
from tests.gateway.tools import TEMPLATE, TOOL
from tests.polling import eventually
from tests.scripted_gguf import PROMPT_END, write_scripted_llama

MODEL = "local/calls"
CALL = ["<tool_call>", '\n{"name": "get_', "weather", '", "arguments": {', '"city": "', "Bern", '"}}', "\n</tool_call>"]
ARGUMENTS = {"city": "Bern"}
ANTHROPIC_TOOL = {"name": "get_weather", "input_schema": TOOL["function"]["parameters"]}  # type: ignore[index]
RESPONSES_TOOL = {"type": "function", **TOOL["function"]}  # type: ignore[dict-item]
ASK = [{"role": "user", "content": "What is the weather in Bern?"}]

DIALECTS: dict[str, tuple[str, dict[str, Any]]] = {
    "openai": ("/engines/v1/chat/completions", {"messages": ASK, "tools": [TOOL]}),
    "responses": ("/engines/v1/responses", {"input": ASK, "tools": [RESPONSES_TOOL]}),
    "anthropic": ("/anthropic/v1/messages", {"messages": ASK, "max_tokens": 60, "tools": [ANTHROPIC_TOOL]}),
    "ollama": ("/api/chat", {"messages": ASK, "tools": [TOOL]}),
}
"""Of each dialect a route, and a request that the model answers by a tool call."""


@dataclass(frozen=True)
class Faulty:
    """A project that is up."""

    dmrc: Dmrc
    directory: Path
    keys: dict[str, str]
    name: str = "faulty"

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.dmrc.port}"

    def set(self, *faults: str, seed: int = 0) -> None:
        """Plan faults for service `api` as `dmrc faults set` does, without the time that a command takes to start."""
        plan = FaultPlan.parse({**read_words(faults), "seed": seed}, "the plan")
        assert plan is not None
        self._put("api", asdict(plan))

    def set_by_command(self, *words: str) -> str:
        """Run `dmrc faults set`, and return what it said."""
        done = self.dmrc.run("faults", "set", *words, cwd=self.directory)
        assert done.returncode == 0, done.stderr
        return done.stderr

    def ask(
        self, dialect: str = "openai", *, stream: bool = False, service: str = "api", **more: Any
    ) -> httpx.Response:
        """Ask as a service does, and return the answer, read to its end."""
        path, body = DIALECTS[dialect]
        headers = {"authorization": f"Bearer {self.keys[service]}", "x-api-key": self.keys[service]}
        document = {"model": MODEL, "stream": stream, **body, **more}
        return httpx.post(self.url + path, json=document, headers=headers, timeout=60)

    def record(self, answer: httpx.Response) -> Exchange:
        """Return the record of what was answered."""

        def look() -> Exchange | None:
            with contextlib.suppress(NotFoundError):
                return self._database.get(answer.headers["x-dmrc-exchange-id"])
            return None

        return eventually(look, "the record")

    @property
    def _database(self) -> ExchangeDatabase:
        return ExchangeDatabase(Settings.from_environment(self.dmrc.environment).paths.exchanges)

    def planned(self) -> list[dict[str, Any]]:
        """Return what `dmrc faults list --json` prints."""
        found: Any = self._daemon.request("GET", "/faults")
        return list(found)

    def clear(self) -> None:
        """End all faults, as `dmrc faults clear` does."""
        self._put(None, {})

    def give_back_to_the_file(self) -> None:
        """Let the compose file's faults hold, as `dmrc faults clear --to-file` does."""
        self._daemon.request("DELETE", f"/projects/{self.name}/faults")

    def _put(self, service: str | None, plan: dict[str, Any]) -> None:
        body = json.dumps({"service": service, "plan": plan})
        self._daemon.request("PUT", f"/projects/{self.name}/faults", body)

    @property
    def _daemon(self) -> DaemonClient:
        return self.dmrc.daemon_client()

    def up(self, service: str = "api", faults: str = "{}", **project: object) -> str:
        """Register the project anew, as `dmrc up` does, and return what was said of a service.

        `project` is what the project's `x-dmrc` says, `faults` is YAML of service `api`'s.
        """
        (self.directory / "compose.yaml").write_text(
            f"name: {self.name}\nx-dmrc: {json.dumps(project)}\nservices:\n"
            f"  api: {{image: none, models: [llm], x-dmrc: {faults}}}\n"
            "  web: {image: none, models: [llm]}\n"
            f"models:\n  llm: {{model: {MODEL}, context_size: 512, x-dmrc: {{parallel: 2}}}}\n"
        )
        done = self.dmrc.run("env", service, "--format", "json", cwd=self.directory)
        assert done.returncode == 0, done.stderr
        self.keys[service] = json.loads(done.stdout)["OPENAI_API_KEY"]
        return done.stderr


@contextmanager
def faulty_project(directory: Path, name: str = "faulty", **project: object) -> Iterator[Faulty]:
    """Run a project; `project` is what its `x-dmrc` says."""
    template = TEMPLATE.replace("<|im_start|>assistant\n", PROMPT_END)
    directory.mkdir(exist_ok=True)
    gguf = write_scripted_llama(directory / "calls.gguf", CALL, template)
    with temporary_dmrc() as dmrc:
        dmrc.ok("package", "--gguf", gguf, MODEL)
        faulty = Faulty(dmrc, directory, {}, name)
        faulty.up(**project)
        yield faulty
