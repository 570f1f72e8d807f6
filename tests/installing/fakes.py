"""Programs that misbehave as a llama-server: each lists a device, and fails when it is to serve."""

from __future__ import annotations

import sys
from pathlib import Path

_LISTED = "Available devices:\n  Vulkan0: Fake (2048 MiB, 2048 MiB free)"

CRASHES = "kill -ILL $$"
EXITS = "exit 0"
HANGS = "exec sleep 600"
FAILS = "echo 'error while loading shared libraries: libcudart.so.12: cannot open shared object file' >&2; exit 127"

_SERVER = """
import http.server, os, socketserver, sys

class Server(socketserver.UnixStreamServer):
    pass

class Handler(http.server.BaseHTTPRequestHandler):
    def address_string(self):
        return "unix"
    def do_GET(self):
        self.answer(b"{}")
    def do_POST(self):
        ANSWER
    def answer(self, body):
        self.send_response(200)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

Server(sys.argv[sys.argv.index("--host") + 1], Handler).serve_forever()
"""

SAYS_NONSENSE = """self.answer(b'{"choices": [{"text": " GGGGGGGG"}]}')"""
DIES_WHEN_ASKED = "os.kill(os.getpid(), 11)"
HANGS_WHEN_ASKED = "import time; time.sleep(600)"


def server(path: Path, serving: str, *, listed: str = _LISTED) -> Path:
    """Write a program that says a version, lists `listed`, and does `serving` when it is to serve."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(
        f"#!/bin/sh\ncase $1 in\n--version) echo 'version: 7 (abc)' >&2; exit 0;;\n"
        f"--list-devices) echo '{listed}'; exit 0;;\nesac\n{serving}\n"
    )
    path.chmod(0o755)
    return path


def answering(path: Path, answer: str) -> Path:
    """Write one that is ready, and does `answer` when it is asked."""
    program = path.with_name("server.py")
    path.parent.mkdir(parents=True, exist_ok=True)
    program.write_text(_SERVER.replace("ANSWER", answer))
    return server(path, f'exec {sys.executable} {program} "$@"')
