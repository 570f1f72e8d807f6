"""What one machine asks of another's dmrc: a model with its options, and what that one says of it."""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, cast

from dmrc.answer import ServerKind
from dmrc.errors import InputError
from dmrc.exchange import Operation
from dmrc.fields import JsonObject
from dmrc.project import Mode, ServingOptions

HOSTED = "/hosted"
"""Where the routes for other machines begin, on the admin socket."""

ENGINE = f"{HOSTED}/engine"
"""Where those of the engine itself begin: `/hosted/engine/v1/chat/completions`."""

USE_HEADER = "x-dmrc-hosted"
"""Says in a request to the engine which model is meant, and how it is to be served."""

ERROR_HEADER = "x-dmrc-error"
"""Tells an error of that dmrc from an answer of its engine."""

LONGEST_KEEP_ALIVE_SECONDS = 3600.0
"""No model stays for ever on a machine whose owner may not know of it: each request begins the hour anew."""


@dataclass(frozen=True, slots=True)
class HostedUse:
    """One way in which another machine uses a model of this one; it names no project, and no caller."""

    model: str
    """Its reference."""
    options: ServingOptions
    """How it is declared."""
    operation: Operation | None = None
    """What it is asked for; None is what the model is for."""

    @classmethod
    def of(cls, model: str, options: ServingOptions) -> HostedUse:
        """Return how the host is to serve a model that was declared with these options, and settled with a mode."""
        operation = None if options.mode is None else _OPERATIONS[options.mode]
        seconds = options.keep_alive_seconds
        kept = None if seconds is None else min(seconds, LONGEST_KEEP_ALIVE_SECONDS)
        return cls(model, replace(options, host=None, mode=None, keep_alive_seconds=kept), operation)

    def to_json(self) -> JsonObject:
        return {"model": self.model, "options": self.options.to_json(), "operation": self.operation}

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> HostedUse:
        """Read what `to_json` returned."""
        return cls(document["model"], ServingOptions.from_json(document["options"]), document.get("operation"))

    def header(self) -> str:
        """Return it as the value of a header."""
        return base64.b64encode(json.dumps(self.to_json()).encode()).decode()

    @classmethod
    def parse(cls, header: str) -> HostedUse:
        """Read what `header` returned.

        Raises:
            InputError: It is something else.
        """
        try:
            return cls.from_json(json.loads(base64.b64decode(header, validate=True)))
        except (ValueError, LookupError, TypeError, AttributeError) as error:
            raise InputError(f"header '{USE_HEADER}' cannot be read: {type(error).__name__}") from error


_OPERATIONS: dict[Mode, Operation] = {"completion": "chat", "embedding": "embedding", "rerank": "rerank"}


@dataclass(frozen=True, slots=True)
class HostedModel:
    """What a host says of a model that it serves."""

    digest: str | None
    """Of its manifest."""
    mode: Mode
    """What it is loaded for, for the operation that was asked for."""
    server: ServerKind
    """Whose server answers."""
    template: str | None
    """Source of its chat template; empty where there is none, None if unknown."""
    context_size: int | None
    """Tokens that one request may use."""
    parallel: int | None = None
    """Requests at the same time; None until it was loaded."""
    name_there: str | None = None
    """What its engine calls it, as each request must; None: it takes any name."""

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> HostedModel:
        """Read what the route writes: the fields by their names."""
        return cls(
            digest=document.get("digest"),
            mode=document["mode"],
            server=cast(ServerKind, document["server"]),
            template=document.get("template"),
            context_size=document.get("context_size"),
            parallel=document.get("parallel"),
            name_there=document.get("name_there"),
        )
