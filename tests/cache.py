"""Where tests keep what they build or download once."""

from __future__ import annotations

from pathlib import Path

import platformdirs


def cache_directory() -> Path:
    """Return the user's directory for it."""
    return platformdirs.user_cache_path("dmrc-tests", appauthor=False, ensure_exists=True)
