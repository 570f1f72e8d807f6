"""A project here whose model a machine there serves, and what its service and its people see."""

from __future__ import annotations

import http.client
import json
from pathlib import Path

import yaml

from dmrc.fields import JsonObject
from tests.ssh_host import HOST, SshHost
from tests.tiny_gguf import write_tiny_llama

TINY = "local/tiny"


class HostedProject:
    """A project with one service, `web`, and one model, `llm`."""

    def __init__(self, box: SshHost, name: str = "p", model: str | None = None, **options: object) -> None:
        """Write it; without other options the model is served by the machine there."""
        self.box = box
        self.name = name
        self.directory = box.here.home / "projects-of-tests" / name
        self.directory.mkdir(parents=True)
        self.file = self.directory / "compose.yaml"
        document = {
            "name": name,
            "services": {"web": {"image": "busybox", "models": ["llm"]}},
            "models": {"llm": {"model": model or TINY, "x-dmrc": {"host": HOST} | options}},
        }
        self.file.write_text(yaml.safe_dump(document))

    def down(self) -> None:
        self.box.here.ok("down", cwd=self.directory)

    def ready(self) -> str:
        """Make the project ready, as `dmrc up` does, and return what a person reads meanwhile."""
        done = self.box.here.run("exec", "web", "--", "true", cwd=self.directory)
        assert done.returncode == 0, done.stderr + self.logs()
        return done.stderr

    def refused(self) -> str:
        """Fail to do so, and return the line that says why."""
        done = self.box.here.run("exec", "web", "--", "true", cwd=self.directory)
        assert done.returncode != 0, done.stdout
        return done.stderr.strip()

    def ask(self, path: str = "chat/completions", key: str | None = None, **body: object) -> http.client.HTTPResponse:
        """Ask with the key of the service, or another one; the answer may be a stream."""
        key = key or json.loads((self.box.here.home / "projects" / self.name / "keys.json").read_bytes())["web"]
        connection = http.client.HTTPConnection("127.0.0.1", self.box.here.port, timeout=60)
        question: dict[str, object] = {"model": TINY, "max_tokens": 8}
        if path == "chat/completions":
            question["messages"] = [{"role": "user", "content": "ba be"}]
        headers = {"authorization": f"Bearer {key}", "content-type": "application/json"}
        connection.request("POST", f"/engines/v1/{path}", json.dumps(question | body), headers)
        return connection.getresponse()

    def answer(self, **body: object) -> JsonObject:
        """Ask for a short answer, which must come."""
        response = self.ask(**body)
        text = response.read()
        assert response.status == 200, text.decode() + self.logs()
        found: JsonObject = json.loads(text)
        return found

    def stream(self) -> http.client.HTTPResponse:
        """Begin a stream that goes on for long, and return it after its first event."""
        response = self.ask("completions", prompt="ba be", stream=True, max_tokens=100_000)
        assert response.readline().startswith(b"data: "), response.status
        return response

    def requests(self) -> list[JsonObject]:
        """Return what is recorded here, the oldest first."""
        found: list[JsonObject] = json.loads(
            self.box.here.ok("requests", "--json", "-n", "1000", "--project", self.name)
        )
        return found

    def logs(self) -> str:
        """Return what both daemons and sshd have said, for a test that fails."""
        logs = [one.home / "logs" / "daemon.log" for one in (self.box.here, self.box.there)]
        said = [f"--- {path}\n{path.read_text()}" for path in logs if path.exists()]
        return "\n".join([*said, "--- sshd", self.box.log()])


def package_there(box: SshHost, directory: Path) -> None:
    """Put the tiny model into the store there."""
    path = write_tiny_llama(directory / "tiny.gguf", context_length=4096)
    box.there.ok("package", "--gguf", path, TINY)
