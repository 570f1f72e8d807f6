"""A compose project of busybox containers that ask the gateway, and what it looks like from outside."""

from __future__ import annotations

import json
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import urllib3
import yaml

from tests.dmrc_command import Dmrc
from tests.docker_engine import DockerEngine
from tests.polling import eventually

TINY = "local/tiny"
_T = TypeVar("_T")


def question(url: str = "$OPENAI_BASE_URL/", key: str = "$OPENAI_API_KEY", model: str = "$OPENAI_MODEL") -> str:
    """Return the shell command of one chat request, which prints the answer."""
    body = '{"model":"\'"' + model + '"\'","max_tokens":4,"messages":[{"role":"user","content":"Hi"}]}'
    return (
        f'/busybox wget -qO- --header "Content-Type: application/json" --header "Authorization: Bearer {key}" '
        f"--post-data '{body}' \"{url}chat/completions\""
    )


STAY = "exec /busybox sleep 600"
"""Keeps a container running; it ends at once when Docker stops it."""


def service(script: str, **more: object) -> dict[str, object]:
    """Return a service that runs a shell script; Compose interpolates the script, so its `$` are doubled."""
    return {
        "image": "busybox:local",
        "entrypoint": ["/busybox", "sh", "-c"],
        "command": [script.replace("$", "$$")],
        "stop_signal": "SIGKILL",
        **more,
    }


@dataclass(frozen=True, slots=True)
class Container:
    """One container as it runs."""

    id: str
    started_at: str


@dataclass(frozen=True, slots=True)
class ComposeProject:
    """A compose project in a directory of its own."""

    dmrc: Dmrc
    engine: DockerEngine
    directory: Path
    name: str

    def write(self, document: dict[str, object], file: str = "compose.yaml") -> None:
        self.directory.mkdir(exist_ok=True)
        (self.directory / file).write_text(yaml.safe_dump({"name": self.name, **document}, sort_keys=False))

    def up(self, *arguments: str, code: int = 0) -> subprocess.CompletedProcess[str]:
        """Run `dmrc up`, and fail the test on another exit code."""
        up = self.dmrc.run("up", *arguments, cwd=self.directory)
        assert up.returncode == code, up.stdout + up.stderr
        return up

    def down(self, *arguments: str) -> None:
        self.dmrc.ok("down", *arguments, cwd=self.directory)

    def containers(self) -> dict[str, Container]:
        """Return the containers by service, stopped ones too."""
        label = f"label=com.docker.compose.project={self.name}"
        ids = self.engine.docker("ps", "--all", "--quiet", "--no-trunc", "--filter", label).split()
        form = '{{index .Config.Labels "com.docker.compose.service"}} {{.Id}} {{.State.StartedAt}}'
        lines = self.engine.docker("inspect", "--format", form, *ids).splitlines() if ids else []
        return {name: Container(container, started) for name, container, started in map(str.split, lines)}

    def is_running(self, service: str) -> bool:
        state = self.engine.docker("inspect", "--format", "{{.State.Running}}", self.containers()[service].id)
        return state.strip() == "true"

    @property
    def override(self) -> Path:
        return self.dmrc.home / "projects" / self.name / "override.yaml"

    @property
    def keys(self) -> dict[str, str]:
        """Return the plain key of each service."""
        found: dict[str, str] = json.loads((self.override.parent / "keys.json").read_bytes())
        return found

    def exchanges(self, service: str | None = None) -> list[dict[str, object]]:
        selection = ["--project", self.name, *(["--service", service] if service else [])]
        found: list[dict[str, object]] = json.loads(self.dmrc.ok("requests", "--json", "-n", "1000", *selection))
        return found

    def answers(self, *services: str) -> dict[str, dict[str, object]]:
        """Wait until each of these services has asked, and return the first exchange of each."""

        def first() -> dict[str, dict[str, object]] | None:
            found = {str(each["service"]): each for each in reversed(self.exchanges())}
            return found if found.keys() >= set(services) else None

        return eventually(first, f"a question of each of {services}")

    def ask(self, service: str, *, model: str = TINY, prompt: str = "Hi") -> tuple[int, dict[str, dict[str, str]]]:
        """Ask from this machine with the key of a service."""
        return ask(f"http://127.0.0.1:{self.dmrc.port}", self.keys[service], model=model, prompt=prompt)


def ask(
    url: str, key: str | None = None, *, model: str = TINY, prompt: str = "Hi"
) -> tuple[int, dict[str, dict[str, str]]]:
    """Return the status and the document of a chat request."""
    answer = urllib3.request(
        "POST",
        f"{url}/engines/v1/chat/completions",
        json={"model": model, "max_tokens": 2, "messages": [{"role": "user", "content": prompt}]},
        headers={"Authorization": f"Bearer {key}"} if key else {},
        retries=False,
        timeout=60,
    )
    return answer.status, answer.json()


def runners(dmrc: Dmrc) -> dict[str, object]:
    """Return the context of each runner by its id."""
    return {runner["id"]: runner["context_size"] for runner in json.loads(dmrc.ok("ps", "--json"))}
