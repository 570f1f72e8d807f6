"""The lines of JSON by which Docker Model Runner tells how a pull or push goes on.

Source: https://github.com/docker/model-runner/blob/main/pkg/distribution/oci/progress.go
"""

from __future__ import annotations

import json
from typing import Literal

from dmrc.sources import ProgressEvent

Direction = Literal["pull", "push"]
"""Which way a model travels."""

_DONE = {"pull": "Downloaded", "push": "Uploaded"}


class ModelEvents:
    """The lines of one pull or push; it remembers the layers, for each line tells the size of all of them.

    Shape of a line: `{"type": "progress", "message": "Downloaded: 1.00 MB", "total": 98362432, "layer": {"id":
    "sha256:…", "size": 98362432, "current": 1048576}, "mode": "pull"}`, and a line feed. `type` is also `success`,
    `warning` or `error`. All sizes are bytes.
    """

    def __init__(self, mode: Direction) -> None:
        self._mode = mode
        self._sizes: dict[str, int] = {}

    def progress(self, event: ProgressEvent) -> bytes:
        """Return the line for one step."""
        if event.layer is None:
            return self._line("progress", event.status)
        self._sizes[event.layer] = event.size_bytes
        layer: dict[str, str | int] = {
            "id": event.layer,
            "size": event.size_bytes,
            "current": event.current_bytes,
        }
        done = f"{_DONE[self._mode]}: {event.current_bytes / (1 << 20):.2f} MB"
        return self._line("progress", done, sum(self._sizes.values()), layer)

    def success(self, message: str) -> bytes:
        """Return the last line of what went well."""
        return self._line("success", message)

    def error(self, message: str) -> bytes:
        """Return the last line of what failed."""
        return self._line("error", message)

    def _line(self, kind: str, message: str, total: int = 0, layer: dict[str, str | int] | None = None) -> bytes:
        line = {
            "type": kind,
            "message": message,
            "total": total,
            "layer": layer or {"size": 0, "current": 0},
            "mode": self._mode,
        }
        return json.dumps(line, ensure_ascii=False).encode() + b"\n"
