"""Whether an engine is there, and runs, as its own description says."""

from __future__ import annotations

from dmrc.engines.engine import Engine

_MISSING = "not installed; "


def is_installed(engine: Engine) -> bool:
    """Return whether it can serve, as far as it can tell without starting anything."""
    return not engine.describe().startswith(_MISSING)


def backend_state(description: str, *, is_running: bool) -> str:
    """Return the state of an engine as Docker Model Runner writes it: `Running: llama-server …`, `Not Installed: …`."""
    if description.startswith(_MISSING):
        return f"Not Installed: {description.removeprefix(_MISSING)}"
    return f"{'Running' if is_running else 'Installed'}: {description}"
