"""Two daemons that share nothing but a directory of cassettes: one records a project's requests, one replays them."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tests.dmrc_command import Dmrc, temporary_dmrc
from tests.processes import command_of, engines_of

if TYPE_CHECKING:
    import anthropic
    import ollama
    import openai

Models = Mapping[str, Mapping[str, object]]


@dataclass
class Side:
    """A daemon, as the services of one project find it."""

    dmrc: Dmrc
    directory: Path
    name: str
    keys: dict[str, str] = field(default_factory=dict)
    warnings: str = ""

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.dmrc.port}"

    def begin(
        self,
        mode: str | None,
        models: Models,
        *,
        services: tuple[str, ...] = ("web",),
        replay: Mapping[str, object] | None = None,
        environment: Mapping[str, str] | None = None,
        secrets: Mapping[str, str] | None = None,
        **options: object,
    ) -> None:
        """Begin a run of the project: register it as `dmrc up` would.

        `secrets` are names of secrets and the files that hold them; `options` are those of `x-dmrc`.
        """
        replayed = {} if mode is None else {"replay": {"mode": mode, **(replay or {})}}
        names = {"environment": dict(environment or {}), "secrets": list(secrets or ())}
        document = {
            "name": self.name,
            "x-dmrc": {**replayed, **options},
            "services": {service: {"image": "none", "models": list(models), **names} for service in services},
            "models": models,
            "secrets": {name: {"file": file} for name, file in (secrets or {}).items()},
        }
        (self.directory / "compose.yaml").write_text(json.dumps(document))
        for service in services:
            done = self.dmrc.run("env", service, "--format", "json", cwd=self.directory)
            assert done.returncode == 0, done.stderr
            self.keys[service] = json.loads(done.stdout)["OPENAI_API_KEY"]
            self.warnings += done.stderr

    def openai(self, service: str = "web", **more: Any) -> openai.OpenAI:
        import openai

        given = {"max_retries": 0, "timeout": 60, **more}
        return openai.OpenAI(base_url=f"{self.url}/engines/v1", api_key=self.keys[service], **given)

    def anthropic(self, service: str = "web") -> anthropic.Anthropic:
        import anthropic

        return anthropic.Anthropic(
            base_url=f"{self.url}/anthropic", api_key=self.keys[service], max_retries=0, timeout=60
        )

    def ollama(self, service: str = "web") -> ollama.Client:
        import ollama

        return ollama.Client(host=self.url, headers={"authorization": f"Bearer {self.keys[service]}"}, timeout=60)

    def report(self) -> dict[str, Any]:
        """Return what the daemon says of the run; what was recorded so far is on disk then."""
        client = self.dmrc.daemon_client()
        found: dict[str, Any] = client.request("GET", f"/projects/{self.name}/replay")  # type: ignore[assignment]
        return found

    def engines(self) -> list[str]:
        """Return the command lines of the engine processes of this daemon."""
        daemon = self.dmrc.daemon()
        return [command_of(child) for child in engines_of(daemon)]


@dataclass(frozen=True)
class Stage:
    """A project in a directory of its own, known to a daemon with models and to one with none."""

    recording: Side
    replaying: Side

    @property
    def cassettes(self) -> Path:
        return self.recording.directory / "cassettes"

    def lines(self, service: str = "web") -> list[dict[str, Any]]:
        """Return the interactions that a service's cassette holds."""
        text = (self.cassettes / f"{service}.jsonl").read_text()
        return [json.loads(line) for line in text.splitlines()][1:]


@dataclass(frozen=True)
class Pair:
    """The two daemons."""

    recording: Dmrc
    replaying: Dmrc

    def stage(self, directory: Path, name: str = "shop") -> Stage:
        """Return a project for them; each `begin` writes its compose file anew."""
        (directory / "cassettes").mkdir()
        return Stage(Side(self.recording, directory, name), Side(self.replaying, directory, name))


@contextmanager
def pair() -> Iterator[Pair]:
    """Start both."""
    with temporary_dmrc() as recording, temporary_dmrc() as replaying:
        yield Pair(recording, replaying)
