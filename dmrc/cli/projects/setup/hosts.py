"""Models that another machine serves, brought there while a person waits."""

from __future__ import annotations

import json
import os
from collections.abc import Callable

from dmrc.cli.app import App
from dmrc.errors import CancelledError, DaemonError, DmrcError
from dmrc.fields import JsonObject
from dmrc.models import Pulled
from dmrc.sources import ProgressEvent
from dmrc.told_errors import told_error


def shell_of(app: App, host: str) -> JsonObject:
    """Return a host with what ssh needs of this command's shell: the daemon may have been started by another one."""
    agent = os.environ.get("SSH_AUTH_SOCK")
    return {"host": host, "agent": agent, "remote_command": app.settings.remote_command}


def pull_there(
    app: App,
    host: str,
    model: str,
    engine: str | None,
    progress: Callable[[ProgressEvent], None],
    cancelled: Callable[[], bool],
) -> Pulled:
    """Make sure that a model is in the store of a host.

    Raises:
        DmrcError: It cannot be had there, or the host cannot be reached.
        CancelledError: `cancelled` returned True; what came is kept there.
    """
    wish = json.dumps({**shell_of(app, host), "model": model, "engine": engine})
    for line in app.daemon.lines("POST", "/hosts/pull", wish):
        if cancelled():
            raise CancelledError("cancelled")
        if isinstance(event := line.get("progress"), dict):
            progress(ProgressEvent(**event))  # type: ignore[arg-type]
        elif isinstance(pulled := line.get("pulled"), dict):
            return Pulled(**pulled)  # type: ignore[arg-type]
        elif "error" in line:
            error: DmrcError = told_error(line["error"], f"host '{host}'")
            error.message = error.message if host in error.message else f"host '{host}': {error.message}"
            raise error
    raise DaemonError(f"host '{host}' did not say how the pull of '{model}' ended", remedy="See: dmrc logs")
