"""A project whose model is scripted, and whose requests fail on purpose: what the tests of faults share."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from dmrc.capture.database import ExchangeDatabase
from dmrc.cli.client import DaemonClient
from dmrc.errors import NotFoundError
from dmrc.exchange import Exchange
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

    def set(self, *faults: str, service: str = "api") -> str:
        """Plan faults as `dmrc faults set` does, and return what it said."""
        done = self.dmrc.run("faults", "set", service, *faults, cwd=self.directory)
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
        found: Any = DaemonClient(Settings.from_environment(self.dmrc.environment)).request("GET", "/faults")
        return list(found)

    def clear(self) -> None:
        """End all faults, as `dmrc faults clear` does."""
        client = DaemonClient(Settings.from_environment(self.dmrc.environment))
        client.request("PUT", "/projects/faulty/faults", json.dumps({"service": None, "plan": {}}))

    def up(self, **project: object) -> dict[str, str]:
        """Register the project anew, as `dmrc up` does, and return what was said of each service.

        `project` is what the project's `x-dmrc` says.
        """
        said = {}
        file = self.directory / "compose.yaml"
        rest = file.read_text().partition("\nservices:")[2]
        file.write_text(f"name: {self.name}\nx-dmrc: {json.dumps(project)}\nservices:{rest}")
        for service in ("api", "web"):
            done = self.dmrc.run("env", service, "--format", "json", cwd=self.directory)
            assert done.returncode == 0, done.stderr
            self.keys[service] = json.loads(done.stdout)["OPENAI_API_KEY"]
            said[service] = done.stderr
        return said


@contextmanager
def faulty_project(directory: Path, faults: str = "{}", name: str = "faulty") -> Iterator[Faulty]:
    """Run a project; `faults` is YAML of service `api`'s `x-dmrc`."""
    template = TEMPLATE.replace("<|im_start|>assistant\n", PROMPT_END)
    directory.mkdir(exist_ok=True)
    gguf = write_scripted_llama(directory / "calls.gguf", CALL, template)
    (directory / "compose.yaml").write_text(
        f"\nservices:\n  api: {{image: none, models: [llm], x-dmrc: {faults}}}\n"
        "  web: {image: none, models: [llm]}\n"
        f"models:\n  llm: {{model: {MODEL}, context_size: 512, x-dmrc: {{parallel: 2}}}}\n"
    )
    with temporary_dmrc() as dmrc:
        dmrc.ok("package", "--gguf", gguf, MODEL)
        faulty = Faulty(dmrc, directory, {}, name)
        faulty.up()
        yield faulty
