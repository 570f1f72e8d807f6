"""A toy engine, as a stranger would write it: it serves a directory of safetensors by saying its name."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from socketserver import ThreadingMixIn, UnixStreamServer

from dmrc import hookimpl
from dmrc.engines.child_engine import ChildEngine
from dmrc.engines.engine import Engine, Launch, launch_json
from dmrc.engines.parent_death import die_with_parent
from dmrc.errors import RuntimeFlagError
from dmrc.project import ServingOptions
from dmrc.settings import Settings


class ToyEngine(ChildEngine):
    name = program = "toy"
    formats = frozenset({"safetensors"})

    def check(self, options: ServingOptions, companions: Sequence[str] = ()) -> None:
        flags = options.runtime_flags or ()
        if flags and (len(flags) != 2 or flags[0] != "--tensor-parallel-size" or not flags[1].isdigit()):
            raise RuntimeFlagError(f"runtime flag '{flags[0]}' is unknown to the toy", remedy="Remove it")

    def command(self, launch: Launch) -> list[str]:
        return [sys.executable, "-m", __name__, launch_json(launch)]


@hookimpl
def dmrc_register_engines(settings: Settings) -> Sequence[Engine]:
    return [ToyEngine()]


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def _answer(self, kind: str, body: bytes) -> None:
        self.send_response(200)
        self.send_header("content-type", kind)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def do_GET(self) -> None:
        self._answer("application/json", b"{}")

    def do_POST(self) -> None:
        asked = json.loads(self.rfile.read(int(self.headers["content-length"])))
        usage = {"prompt_tokens": 1, "completion_tokens": len(WORDS), "total_tokens": 1 + len(WORDS)}
        said = {"role": "assistant", "content": " ".join(WORDS)}
        if not asked.get("stream"):
            choice = {"index": 0, "message": said, "finish_reason": "stop"}
            return self._answer("application/json", json.dumps({"choices": [choice], "usage": usage}).encode())
        deltas = [{"content": f"{' ' if n else ''}{word}"} for n, word in enumerate(WORDS)]
        chunks = [{"choices": [{"index": 0, "delta": delta, "finish_reason": None}]} for delta in deltas]
        chunks += [{"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]}, {"choices": [], "usage": usage}]
        events = [f"data: {json.dumps(chunk)}\n\n" for chunk in chunks]
        return self._answer("text/event-stream", "".join([*events, "data: [DONE]\n\n"]).encode())

    def address_string(self) -> str:
        return "gateway"

    def log_message(self, *_: object) -> None:
        pass


class _Server(ThreadingMixIn, UnixStreamServer):
    daemon_threads = True


if __name__ == "__main__":
    die_with_parent()
    told = json.loads(sys.argv[1])
    WORDS = [path.name for path in sorted(Path(told["path"]).iterdir())] + list(told.get("runtime_flags", ()))
    _Server(told["socket"], _Handler).serve_forever()
