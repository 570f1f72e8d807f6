"""What to run for a model on a host: all that can be known here of what its dmrc serves there."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from dmrc.engines.engine import Engine
from dmrc.engines.ssh.engine import SshEngine
from dmrc.engines.ssh.hosted_use import HostedModel
from dmrc.errors import EngineError
from dmrc.exchange import Operation
from dmrc.project import SSH_ENGINE, Mode, ModelDeclaration
from dmrc.scheduler.target import Target

_MODES: dict[Operation, Mode] = {"embedding": "embedding", "rerank": "rerank"}


class HostedTargets:
    """The targets of models on hosts. For one event loop."""

    def __init__(self, engines: Mapping[str, Engine]) -> None:
        """Ask hosts by the engine that reaches them."""
        self._engine = engines.get(SSH_ENGINE)

    async def target(self, declaration: ModelDeclaration, operation: Operation | None) -> Target:
        """Return what to run; the host is asked once for each model, while the daemon runs.

        Raises:
            UpstreamError: The host cannot be reached.
            ModelNotFoundError: It has not the model.
        """
        engine, model, options = self._reached(), declaration.model, declaration.options
        found = await engine.described(model, options)
        mode = _mode(found, operation)
        if mode != found.mode:
            found = await engine.described(model, replace(options, mode=mode))
        return _target(declaration, found)

    def known(self, declaration: ModelDeclaration, operation: Operation | None) -> Target | None:
        """Return the same; None where the host was not asked yet, so that nothing runs of it."""
        engine, model, options = self._reached(), declaration.model, declaration.options
        found = engine.told(model, options)
        if found is not None and (mode := _mode(found, operation)) != found.mode:
            found = engine.told(model, replace(options, mode=mode))
        return None if found is None else _target(declaration, found)

    def _reached(self) -> SshEngine:
        if not isinstance(self._engine, SshEngine):
            raise EngineError("there is no engine 'ssh'")
        return self._engine


def _mode(found: HostedModel, operation: Operation | None) -> Mode:
    """Return what a model must be loaded for."""
    return found.mode if operation is None else _MODES.get(operation, "completion")


def _target(declaration: ModelDeclaration, found: HostedModel) -> Target:
    options = declaration.options
    return Target(
        reference=declaration.model,
        server=found.server,
        digest=found.digest,
        template=found.template,
        options=replace(options, context_size=options.context_size or found.context_size, mode=found.mode),
    )
