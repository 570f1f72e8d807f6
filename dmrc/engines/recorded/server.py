"""Where requests end that no cassette has answered."""

from __future__ import annotations

from collections.abc import Mapping

from dmrc.answer import Answer
from dmrc.engines.process import EngineProcess
from dmrc.engines.replicas import Replicas
from dmrc.engines.session import Session
from dmrc.errors import RefusedError

NOT_RECORDED = "not_recorded"
"""`error.type` of the answer to a request that is not recorded."""


class RecordedServer:
    """See `Server`: it has no child."""

    process: EngineProcess | None = None
    replicas: Replicas | None = None

    def __init__(self, model: str) -> None:
        """Stand for `model`."""
        self._model = model

    async def wait_ready(self) -> Session:
        """Return what refuses all."""
        return RecordedSession(self._model)


class RecordedSession:
    """See `Session`: whatever comes here was not recorded, and no model is asked in silence."""

    model: str | None = None

    def __init__(self, model: str) -> None:
        """Name `model` in what is refused."""
        self._model = model

    async def post(self, path: str, headers: Mapping[str, str], body: bytes) -> Answer:
        """Refuse.

        Raises:
            RefusedError: Always.
        """
        del headers, body
        raise RefusedError(
            f"model '{self._model}' is replayed, and this request to {path} is not recorded",
            status=422,
            error_type=NOT_RECORDED,
        )

    async def get(self, path: str) -> Answer:
        """Refuse as `post` does."""
        return await self.post(path, {}, b"")

    async def close(self) -> None:
        """Have nothing to close."""
