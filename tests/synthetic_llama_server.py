"""The synthetic server under the name of llama.cpp's: for gateways that start a `llama-server` of theirs.

`write_program` makes the program; `python -m tests.synthetic_llama_server ARGUMENTS…` is what it runs. Of llama.cpp's
arguments it understands `--host` (an address, or a unix socket) and `--port`, and takes all others. Without `--model`,
as for `--version` and `--list-devices`, it tells of itself and ends.
"""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

import uvloop

from tests.synthetic_server import serve

_ROOT = Path(__file__).parents[1]


def write_program(directory: Path) -> Path:
    """Write an executable `llama-server` into a directory, and return it."""
    program = directory / "llama-server"
    start = f'exec "{sys.executable}" -m {__name__} "$@"'
    program.write_text(f'#!/bin/sh\nPYTHONPATH="{_ROOT}" {start}\n')
    program.chmod(0o755)
    return program


async def _serve_as_told(arguments: list[str]) -> None:
    parser = argparse.ArgumentParser(allow_abbrev=False)
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=8080)
    told, _ = parser.parse_known_args(arguments)
    if told.host.endswith(".sock"):
        Path(told.host).unlink(missing_ok=True)
        await serve({"socket": told.host})
    else:
        await serve({"port": told.port})


if __name__ == "__main__":
    if "--model" not in sys.argv:
        print("version: 1 (synthetic)", file=sys.stderr)
        sys.exit()
    os.umask(0o077)
    uvloop.run(_serve_as_told(sys.argv[1:]))
