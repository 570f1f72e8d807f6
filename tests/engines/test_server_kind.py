"""How carefully a request is checked is a matter of the server that an engine starts, not of the engine's name."""

from __future__ import annotations

import pytest

from dmrc.answer import ServerKind
from dmrc.dialects.chat.served import Served
from dmrc.engines.llama_cpp.engine import LlamaCpp
from dmrc.engines.llama_cpp_python.engine import LlamaCppPython
from dmrc.engines.upstream.engine import UpstreamEngine
from tests.engines.toy import ToyEngine


class InAContainer(LlamaCpp):
    name = "llama.cpp-cuda"


@pytest.mark.parametrize(
    ("engine", "server"),
    [
        (LlamaCpp(None), "llama-server"),
        (InAContainer(None), "llama-server"),
        (LlamaCppPython(), "other"),
        (UpstreamEngine(), "upstream"),
        (ToyEngine(), "other"),
    ],
)
def test_an_engine_says_whose_server_it_starts(engine: LlamaCpp, server: ServerKind) -> None:
    served = Served("ai/x", engine.server)

    assert engine.server == server
    assert (served.is_llama_cpp, served.is_upstream) == (server == "llama-server", server == "upstream")
