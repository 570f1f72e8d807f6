"""A dmrc whose engine is the synthetic server: a plugin registers it, as any stranger's would."""

from __future__ import annotations

import http.client
import json
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from dmrc import hookimpl
from dmrc.engines.child_engine import ChildEngine
from dmrc.engines.engine import Engine, Launch, launch_json
from dmrc.settings import Settings
from tests.dmrc_command import Dmrc, temporary_dmrc
from tests.installed_plugins import install_plugins
from tests.tiny_gguf import write_tiny_llama

MODEL = "local/synthetic"
_ENGINE = "synthetic"


class SyntheticEngine(ChildEngine):
    """Starts `tests/synthetic_server.py`."""

    name = _ENGINE
    program = "synthetic server"
    usual_parallel = 64

    def command(self, launch: Launch) -> list[str]:
        return [sys.executable, "-m", "tests.synthetic_server", launch_json(launch)]


@hookimpl
def dmrc_register_engines(settings: Settings) -> Sequence[Engine]:
    return [SyntheticEngine()]


@dataclass(frozen=True)
class SyntheticDmrc:
    """A dmrc with one project, whose one service may use the synthetic engine."""

    dmrc: Dmrc
    key: str

    @property
    def pid(self) -> int:
        pid: int = json.loads(self.dmrc.ok("status", "--json"))["pid"]
        return pid

    @property
    def socket(self) -> Path:
        """The runner's own socket."""
        (found,) = (self.dmrc.home / "run").glob("runner-*.sock")
        return found

    def ask(self, **more: object) -> http.client.HTTPResponse:
        """Send a chat request and return its answer, of which only the headers are read."""
        connection = http.client.HTTPConnection("127.0.0.1", self.dmrc.port, timeout=60)
        body = json.dumps({"model": MODEL, "messages": [{"role": "user", "content": "Tell me of the whale."}], **more})
        connection.request("POST", "/v1/chat/completions", body, {"authorization": f"Bearer {self.key}"})
        return connection.getresponse()


@contextmanager
def synthetic_dmrc(
    parallel: int = 64, capture: str = "full", checkout: Path | None = None, **settings: str
) -> Iterator[SyntheticDmrc]:
    """Yield it with its runner loaded; `capture` as in `x-dmrc`. The code is of `checkout`, or this one.

    `settings` are variables of its environment: `DMRC_STREAM_PROCESSES="2"`.
    """
    with temporary_dmrc(checkout) as dmrc:
        dmrc.environment |= settings
        install_plugins(dmrc, synthetic=__name__)
        (dmrc.home / "compose.yaml").write_text(
            f"name: bench\nx-dmrc: {{capture: {capture}}}\n"
            "services: {app: {image: none, models: [llm]}}\n"
            f"models: {{llm: {{model: {MODEL}, context_size: 256,"
            f" x-dmrc: {{engine: {_ENGINE}, parallel: {parallel}, keep_alive: -1}}}}}}\n"
        )
        dmrc.ok("package", "--gguf", write_tiny_llama(dmrc.home / "tiny.gguf"), MODEL)
        key = json.loads(dmrc.ok("env", "app", "--format", "json", cwd=dmrc.home))["OPENAI_API_KEY"]
        synthetic = SyntheticDmrc(dmrc, key)
        synthetic.ask().read()
        yield synthetic
