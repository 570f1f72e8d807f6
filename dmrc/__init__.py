"""dmrc: `docker compose up` with local language models beside it.

What a plugin may import is here, and nothing else is promised to stay.
"""

import pluggy

__version__ = "0.1.0"

hookimpl = pluggy.HookimplMarker("dmrc")
"""Marks a function or method of a plugin as the implementation of the hook of that name."""

__all__ = ["__version__", "hookimpl"]
