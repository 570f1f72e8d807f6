"""A project with plugins of its own in front of a real daemon and a tiny model, and what its plugins wrote down."""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from dataclasses import dataclass, field
from pathlib import Path

import psutil

from tests.dmrc_command import Dmrc
from tests.hooks.written import write

MODEL = "local/tiny"

WATCHES = """
import json, pathlib
NOTES = pathlib.Path(__file__).with_suffix(".jsonl")

def note(hook, **what):
    with NOTES.open("a") as file:
        file.write(json.dumps([hook, what]) + "\\n")

@hookimpl
def dmrc_project_loaded(project):
    note("project", name=project.name, services=sorted(project.services))

@hookimpl
def dmrc_runner_started(runner):
    note("started", id=runner.id, at=runner.started_at, model=runner.model_reference)

@hookimpl
def dmrc_runner_stopped(runner, exit_code, reason):
    note("stopped", id=runner.id, at=runner.started_at, exit_code=exit_code, reason=reason)

@hookimpl
def dmrc_exchange_completed(exchange):
    note("completed", id=exchange.id, status=exchange.status, project=exchange.project,
         authorization=exchange.request_headers.get("authorization"), cut=exchange.client_disconnected)
"""
"""Writes what it hears into a file beside itself, a line of JSON each."""

REFUSES_ODD = """
@hookimpl
def dmrc_request(request):
    if request.body.get("seed") == 1:
        return Refusal(message="no odd seeds", status=418)
    if request.body.get("seed") == 2:
        return Response(body={"choices": [], "plugin": True})
"""

PULLED = """
@hookimpl
def dmrc_model_pulled(reference, digest, size_bytes, seconds):
    note("pulled", reference=reference, digest=digest, size_bytes=size_bytes, seconds=seconds)
"""


def notes(plugin: Path, hook: str | None = None) -> list[tuple[str, dict[str, object]]]:
    """Return what a plugin that watches wrote; with `hook` only of that one."""
    path = plugin.with_suffix(".jsonl")
    lines = path.read_text().splitlines() if path.exists() else []
    return [(name, what) for name, what in map(json.loads, lines) if hook in (None, name)]


@dataclass
class Shop:
    """A compose project in a directory of its own; `up` registers it as `dmrc up` would."""

    dmrc: Dmrc
    directory: Path
    name: str = "shop"
    plugins: dict[str, Path] = field(default_factory=dict)
    key: str = ""
    printed: str = ""

    def plugin(self, name: str, source: str) -> Path:
        """Write one of its plugins."""
        self.directory.mkdir(exist_ok=True)
        self.plugins[name] = write(self.directory / f"{name}.py", source)
        return self.plugins[name]

    def up(self, service: str = "", **model: object) -> None:
        """Register it with the daemon; `service` is YAML of its service."""
        self.directory.mkdir(exist_ok=True)
        paths = [f"./{path.name}" for path in self.plugins.values()]
        (self.directory / "compose.yaml").write_text(
            f"name: {self.name}\nx-dmrc: {{plugins: {json.dumps(paths)}}}\n"
            f"services:\n  web: {{image: none, models: [llm]{service}}}\n"
            f"models:\n  llm: {json.dumps({'model': MODEL, 'context_size': 64, **model})}\n"
        )
        done = self.dmrc.run("env", "web", "--format", "json", cwd=self.directory)
        assert done.returncode == 0, done.stderr
        self.printed = done.stderr
        self.key = json.loads(done.stdout)["OPENAI_API_KEY"]

    def ask(self, body: dict[str, object] | None = None, *, key: str | None = None) -> tuple[int, bytes]:
        """Ask for two tokens, as the service; return status and answer."""
        question = {"model": MODEL, "max_tokens": 2, "messages": [{"role": "user", "content": "hi"}], **(body or {})}
        return post(self.dmrc, json.dumps(question).encode(), self.key if key is None else key)

    def states(self) -> dict[str, dict[str, object]]:
        """Return its plugins as `dmrc plugins` tells, by name."""
        return {each["name"]: each for each in listed(self.dmrc) if each["project"] == self.name}


def post(dmrc: Dmrc, body: bytes, key: str = "", route: str = "chat/completions") -> tuple[int, bytes]:
    """Send one request."""
    url = f"http://127.0.0.1:{dmrc.port}/engines/v1/{route}"
    request = urllib.request.Request(url, body, {"content-type": "application/json", "authorization": f"Bearer {key}"})
    try:
        with urllib.request.urlopen(request, timeout=60) as answer:
            return answer.status, answer.read()
    except urllib.error.HTTPError as error:
        return error.code, error.read()


def listed(dmrc: Dmrc) -> list[dict[str, object]]:
    """Return what `dmrc plugins` lists."""
    found: list[dict[str, object]] = json.loads(dmrc.ok("plugins", "--json"))
    return found


def daemon(dmrc: Dmrc) -> psutil.Process:
    """Return the process of the daemon."""
    return dmrc.daemon()
