"""dmrc: `docker compose up` with local language models beside it.

What a plugin may import is here, and nothing else is promised to stay.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

import pluggy

if TYPE_CHECKING:
    from dmrc.capture.joining.local_memory import ConversationMemory, JoinedExchange, ToolRun
    from dmrc.capture.replacing import mask
    from dmrc.exchange import Exchange
    from dmrc.hooks.event_types import Annotate, AnswerCut, Refusal, Request, Response, Runner, StandIn
    from dmrc.project import Project, Service

__version__ = "0.1.0"

hookimpl = pluggy.HookimplMarker("dmrc")
"""Marks a function or method of a plugin as the implementation of the hook of that name."""

__all__ = [
    "Annotate",
    "AnswerCut",
    "ConversationMemory",
    "Exchange",
    "JoinedExchange",
    "Project",
    "Refusal",
    "Request",
    "Response",
    "Runner",
    "Service",
    "StandIn",
    "ToolRun",
    "__version__",
    "hookimpl",
    "mask",
]

_MODULES = {
    "Annotate": "dmrc.hooks.event_types",
    "AnswerCut": "dmrc.hooks.event_types",
    "ConversationMemory": "dmrc.capture.joining.local_memory",
    "Exchange": "dmrc.exchange",
    "JoinedExchange": "dmrc.capture.joining.local_memory",
    "Project": "dmrc.project",
    "Refusal": "dmrc.hooks.event_types",
    "Request": "dmrc.hooks.event_types",
    "Response": "dmrc.hooks.event_types",
    "Runner": "dmrc.hooks.event_types",
    "Service": "dmrc.project",
    "StandIn": "dmrc.hooks.event_types",
    "ToolRun": "dmrc.capture.joining.local_memory",
    "mask": "dmrc.capture.replacing",
}


def __getattr__(name: str) -> object:
    """Import a value when it is first asked for, so that `import dmrc` stays cheap."""
    if name not in _MODULES:
        raise AttributeError(f"module 'dmrc' has no attribute '{name}'")
    return getattr(importlib.import_module(_MODULES[name]), name)
