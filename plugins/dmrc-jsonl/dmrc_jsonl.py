"""Each finished request as a line of JSON in a file, as it was recorded: secrets are masked already."""

from __future__ import annotations

import dataclasses
import json
import os
from pathlib import Path

from dmrc import Exchange, hookimpl

__version__ = "0.1.0"

_BODIES = {"request_body": "request", "response_body": "response"}


def path() -> Path:
    """Return the file: `DMRC_JSONL` of the daemon's environment, else `dmrc.jsonl` in the home directory."""
    return Path(os.environ.get("DMRC_JSONL") or Path.home() / "dmrc.jsonl").expanduser()


@hookimpl
def dmrc_exchange_completed(exchange: Exchange) -> None:
    """Append it. The file is opened each time, so that it may be moved away at any moment."""
    # One write of a whole line: a reader never sees half of one, whoever else appends.
    descriptor = os.open(path(), os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    try:
        os.write(descriptor, line(exchange).encode() + b"\n")
    finally:
        os.close(descriptor)


def line(exchange: Exchange) -> str:
    """Return an exchange as JSON: its fields, and its bodies as JSON where they are JSON, else as text."""
    fields: dict[str, object] = {}
    for field in dataclasses.fields(exchange):
        value = getattr(exchange, field.name)
        if field.name in _BODIES:
            fields[_BODIES[field.name]] = _body(value)
        elif value is not None:
            fields[field.name] = value
    return json.dumps(fields, ensure_ascii=False, default=dict)


def _body(body: bytes) -> object:
    text = body.decode(errors="replace")
    try:
        return json.loads(text)
    except ValueError:
        return text
