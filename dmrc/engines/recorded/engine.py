"""The engine `recorded`, of the models of a project that is replayed: nothing is pulled, started, loaded or counted."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from dmrc import hookimpl
from dmrc.answer import ServerKind
from dmrc.engines.engine import Engine, Launch, Server
from dmrc.engines.local_model import LocalModel
from dmrc.engines.plain_engine import PlainEngine
from dmrc.exchange import Operation
from dmrc.project import RECORDED_ENGINE, ServingOptions
from dmrc.settings import Settings


class RecordedEngine(PlainEngine):
    """Stands where a model would: requests are answered from cassettes before they come here."""

    name = RECORDED_ENGINE
    server: ServerKind = "upstream"
    usual_parallel = 256

    def settle(
        self, name: str, model: LocalModel | None, options: ServingOptions, operation: Operation | None
    ) -> ServingOptions:
        """Return them as they are."""
        del name, model, operation
        return options

    async def start(self, launch: Launch, mask: Callable[[str], str] = str) -> Server:
        """Be ready at once."""
        from dmrc.engines.recorded.server import RecordedServer  # the command line has no use for it

        del mask
        return RecordedServer(launch.name)

    def describe(self) -> str:
        return "answers out of cassettes, for a project that is replayed"


@hookimpl
def dmrc_register_engines(settings: Settings) -> Sequence[Engine]:  # noqa: ARG001 the hook's argument
    return [RecordedEngine()]
