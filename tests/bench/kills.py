"""`kill -9` of the engine in mid-stream, 50 times: each time an error event and never `[DONE]`, and nothing is left."""

from __future__ import annotations

import os
import subprocess
import sys

from tests.bench.figure import Figure

_KILLS = 50


def measure() -> list[Figure]:
    """Run the test of it, which fails at the first that goes wrong."""
    command = [sys.executable, "-m", "pytest", "-q", "--timeout", "3600", "tests/gateway/test_kills.py"]
    ran = subprocess.run(
        command, env={**os.environ, "DMRC_TEST_KILLS": str(_KILLS)}, capture_output=True, text=True, check=False
    )
    if ran.returncode:
        sys.stderr.write(ran.stdout)
    name = f"kill -9 in mid-stream, {_KILLS} times: streams without a clean end"
    return [Figure(name=name, value=float(ran.returncode), unit="", bar=0, runs=_KILLS)]
