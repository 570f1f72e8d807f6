"""The toy engine on a TCP port, as vLLM's server has one, and no unix socket."""

from collections.abc import Sequence

from dmrc import hookimpl
from dmrc.engines.engine import Engine
from tests.engines.toy import ToyEngine


class ToyOnPort(ToyEngine):
    name = "toy"
    has_port = True


@hookimpl
def dmrc_register_engines() -> Sequence[Engine]:
    return [ToyOnPort()]
