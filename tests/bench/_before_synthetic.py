"""All gateways that are given, each before an engine that computes nothing, and such an engine by itself."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from tests import synthetic_engine
from tests.bench import _go_peers
from tests.bench._gateways import BASELINE, OURS, Gateway, baseline
from tests.bench._load import Load
from tests.bench._servers import started
from tests.ports import free_port
from tests.synthetic_engine import synthetic_dmrc
from tests.synthetic_llama_server import write_program
from tests.tiny_gguf import write_tiny_llama

_BODY = {"messages": [{"role": "user", "content": "Tell me a long story about a whale and a ship."}]}
_STREAMS = 1024


@contextmanager
def synthetic_gateways() -> Iterator[list[Gateway]]:
    """Start them, this dmrc first."""
    with ExitStack() as stack:
        found = [stack.enter_context(_dmrc(OURS, None))]
        if (checkout := baseline()) is not None:
            found.append(stack.enter_context(_dmrc(BASELINE, checkout)))
        directory = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="dmrc-bench-")))
        engine, gguf = write_program(directory), write_tiny_llama(directory / "tiny.gguf")
        yield [*found, *_go_peers.given(stack, engine, gguf, _BODY)]


@contextmanager
def synthetic_alone() -> Iterator[Gateway]:
    """Start an engine that is asked without a gateway."""
    port = free_port()
    with tempfile.TemporaryDirectory(prefix="dmrc-bench-") as name:
        argv = [str(write_program(Path(name))), "--model", "none", "--port", str(port)]
        with started(argv, port, "/health", {}) as process:
            yield Gateway(name="the engine itself", pid=process.pid, load=Load(port=port, body=_BODY))


@contextmanager
def _dmrc(name: str, checkout: Path | None) -> Iterator[Gateway]:
    with synthetic_dmrc(parallel=_STREAMS, checkout=checkout) as synthetic:
        body = {**_BODY, "model": synthetic_engine.MODEL}
        yield Gateway(name=name, pid=synthetic.pid, load=Load(port=synthetic.dmrc.port, key=synthetic.key, body=body))
