"""The log of events, as a plugin: a line for each finished request, runner, pull and project.

Of a request it has what the record has beside its content: numbers, names, and why it failed.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from operator import attrgetter

from dmrc import Exchange, Project, Runner, hookimpl
from dmrc.gguf import format_size

_log = logging.getLogger("dmrc.events")

_EXCHANGE_FIELDS = (
    *("id", "trace_id", "session_id", "project", "service", "container", "client_address"),
    *("dialect", "operation", "model_requested", "model_key", "model_reference", "engine", "stream"),
    *("queue_ms", "load_ms", "first_token_ms", "total_ms"),
    *("status", "finish_reason", "error_type", "error_message", "client_disconnected"),
    *("prompt_tokens", "cached_tokens", "completion_tokens", "completion_tokens_per_second"),
)
_exchange_values = attrgetter(*_EXCHANGE_FIELDS)
_RUNNER_FIELDS = ("id", "model_reference", "engine", "mode", "context_tokens", "parallel", "memory_bytes")
_LONGEST = 200


@hookimpl
def dmrc_exchange_completed(exchange: Exchange) -> None:
    """Log a finished request."""
    level = logging.WARNING if (exchange.status or 500) >= 500 or exchange.error_type else logging.INFO
    told = zip(_EXCHANGE_FIELDS, _exchange_values(exchange), strict=True)
    fields = {name: value for name, value in told if value is not None and value is not False}
    _write(level, "request", _sentence(exchange), fields)


@hookimpl
def dmrc_runner_started(runner: Runner) -> None:
    """Log a runner that answers."""
    fields = {name: getattr(runner, name) for name in _RUNNER_FIELDS}
    message = f"runner {runner.id} of {runner.model_reference} is ready after {runner.load_seconds:.2f} s"
    _write(logging.INFO, "runner_started", message, {**fields, "load_seconds": round(runner.load_seconds, 3)})


@hookimpl
def dmrc_runner_stopped(runner: Runner, exit_code: int | None, reason: str) -> None:
    """Log a runner that has ended."""
    level = logging.WARNING if reason == "died" else logging.INFO
    ending = f", exit code {exit_code}" if reason == "died" else ""
    fields = {"id": runner.id, "model_reference": runner.model_reference, "reason": reason, "exit_code": exit_code}
    _write(level, "runner_stopped", f"runner {runner.id} of {runner.model_reference} ended: {reason}{ending}", fields)


@hookimpl
def dmrc_model_pulled(reference: str, digest: str, size_bytes: int, seconds: float) -> None:
    """Log a model that came."""
    message = f"pulled {reference}, {format_size(size_bytes)} in {seconds:.1f} s"
    fields = {"model_reference": reference, "digest": digest, "size_bytes": size_bytes, "seconds": round(seconds, 3)}
    _write(logging.INFO, "model_pulled", message, fields)


@hookimpl
def dmrc_project_loaded(project: Project) -> None:
    """Log a project that is up."""
    fields = {"project": project.name, "services": [one.name for one in project.consumers]}
    _write(logging.INFO, "project_loaded", f"project {project.name} is up", fields)


def _write(level: int, event: str, message: str, fields: Mapping[str, object]) -> None:
    # What callers say may hold line breaks or escapes, and a line of the log is one line.
    line = message
    if not message.isprintable():
        line = "".join(char if char.isprintable() else "\N{REPLACEMENT CHARACTER}" for char in message)
    _log.log(level, line, extra={"event": {"event": event, **fields}})


def _sentence(exchange: Exchange) -> str:
    who = "/".join(part for part in (exchange.project, exchange.service) if part) or exchange.client_address or "?"
    model = exchange.model_key or exchange.model_reference or exchange.model_requested or "no model"
    parts = [f"request {exchange.id} {who} {exchange.operation} {model[:_LONGEST]} {exchange.status or 'no answer'}"]
    if exchange.completion_tokens is not None or exchange.prompt_tokens is not None:
        parts.append(f"{exchange.prompt_tokens or 0}→{exchange.completion_tokens or 0} tokens")
    if exchange.first_token_ms is not None:
        parts.append(f"first after {exchange.first_token_ms:.0f} ms")
    if exchange.total_ms is not None:
        parts.append(f"{exchange.total_ms:.0f} ms in all")
    if exchange.client_disconnected:
        parts.append("the caller went away")
    if exchange.error_message:
        parts.append(exchange.error_message[:_LONGEST])
    return ", ".join(parts)
