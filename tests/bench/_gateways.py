"""The gateways that one run compares: this dmrc, an older one, and other programs, each before its own engine.

`DMRC_BENCH_BASELINE` names the directory of an older checkout with its `.venv`.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from tests import synthetic_engine
from tests.bench._load import Load, Loaded, run
from tests.synthetic_engine import synthetic_dmrc

OURS = "dmrc"
BASELINE = "the older build"
MESSAGES = [{"role": "user", "content": "Tell me a long story about a whale and a ship."}]


@dataclass(frozen=True, kw_only=True)
class Gateway:
    """One that runs, and has answered already."""

    name: str
    """How the figures call it."""
    pid: int
    """Its main process."""
    through: Load
    """How to ask it."""
    direct: Load
    """How to ask its engine without it."""

    def ask(
        self, more: Mapping[str, object], *, connections: int = 1, requests: int = 1, directly: bool = False
    ) -> Loaded:
        """Ask for chats with these fields more, and fail where one of them fails."""
        load = self.direct if directly else self.through
        seen = run(replace(load, body={**load.body, **more}, connections=connections, requests=requests))
        assert not seen.failed, f"{seen.failed} requests failed at {self.name}"
        return seen


@contextmanager
def synthetic_gateways() -> Iterator[list[Gateway]]:
    """Start all that are given before an engine that computes nothing, this dmrc first."""
    with ExitStack() as stack:
        found = [stack.enter_context(_dmrc(OURS, None))]
        if baseline := os.environ.get("DMRC_BENCH_BASELINE"):
            found.append(stack.enter_context(_dmrc(BASELINE, Path(baseline).absolute())))
        yield found


@contextmanager
def _dmrc(name: str, checkout: Path | None) -> Iterator[Gateway]:
    body = {"model": synthetic_engine.MODEL, "messages": MESSAGES}
    with synthetic_dmrc(checkout=checkout) as synthetic:
        through = Load(port=synthetic.dmrc.port, key=synthetic.key, body=body)
        direct = Load(socket=str(synthetic.socket), body=body)
        yield Gateway(name=name, pid=synthetic.pid, through=through, direct=direct)
