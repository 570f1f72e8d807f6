"""What `x-dmrc: {replay: …}` and the options `--record` and `--replay` say: recorded answers in place of models."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args

from dmrc.errors import ProjectError
from dmrc.fields import JsonValue, mapping, one_of, refuse_unknown, strings, text

ReplayMode = Literal["record", "replay", "replay-or-record"]
"""Models answer, and what is asked and answered is written; or cassettes answer, and no model does; or cassettes
answer what they hold, models the rest, which is added."""

REPLAY_MODES: tuple[ReplayMode, ...] = get_args(ReplayMode)

DEFAULT_CASSETTES = "cassettes"
"""Where cassettes lie in a project's directory, unless it names another place."""

_FIELDS = ("cassettes", "mode", "speed", "ignore")


@dataclass(frozen=True, slots=True, kw_only=True)
class Replay:
    """Where a project's recorded answers are, and what they are used for."""

    directory: str
    """Where its cassettes lie, one file for each service; absolute."""
    mode: ReplayMode | None = None
    """What they are used for; None: models answer, and nothing is written."""
    speed: float = 0.0
    """How fast a recorded answer comes: 1 as it came from the model, 2 twice as fast, 0 at once."""
    ignore: tuple[str, ...] = ()
    """What of a request may differ from a recorded one: JSON paths (`messages.0.content`), and regular expressions
    between slashes (`/run-[0-9]+/`), which are matched against its texts."""

    @classmethod
    def parse(cls, value: object, directory: Path, where: str = "x-dmrc.replay") -> Replay | None:
        """Read a directory, which means a replay, or a mapping; relative paths begin in `directory`. None stays None.

        Shape:
            `./cassettes`, or `{cassettes: ./cassettes, mode: replay, speed: 1, ignore: [user_id, "/run-[0-9]+/"]}`.

        Raises:
            ProjectError: It is something else.
        """
        if value is None:
            return None
        if isinstance(value, str):
            return cls(directory=str(directory / text(value, where)), mode="replay")
        fields = mapping(value, where)
        refuse_unknown(fields, _FIELDS, where)
        mode, speed = fields.get("mode"), fields.get("speed")
        return cls(
            directory=str(directory / text(fields.get("cassettes", DEFAULT_CASSETTES), f"{where}.cassettes")),
            mode=None if mode is None else one_of(mode, f"{where}.mode", REPLAY_MODES),
            speed=0.0 if speed is None else parse_speed(speed, f"{where}.speed"),
            ignore=_ignored(fields.get("ignore"), f"{where}.ignore"),
        )

    @property
    def needs_models(self) -> bool:
        """Return whether a model may be asked, so that it must be there."""
        return self.mode != "replay"

    @property
    def answers(self) -> bool:
        """Return whether requests are answered from cassettes."""
        return self.mode in ("replay", "replay-or-record")

    @property
    def writes(self) -> bool:
        """Return whether what is asked and answered is written to cassettes."""
        return self.mode in ("record", "replay-or-record")

    def to_json(self) -> JsonValue:
        """Return it as JSON can hold it."""
        return {
            "directory": self.directory,
            "mode": self.mode,
            "speed": self.speed,
            "ignore": list(self.ignore),
        }

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> Replay:
        """Read what `to_json` returned, here or in another version."""
        mode = document.get("mode")
        return cls(
            directory=document["directory"],
            mode=None if mode is None else one_of(mode, "mode", REPLAY_MODES),
            speed=float(document.get("speed", 0.0)),
            ignore=tuple(document.get("ignore", ())),
        )


def parse_speed(value: object, where: str) -> float:
    """Return how fast a recorded answer comes; see `Replay.speed`.

    Raises:
        ProjectError: It is no number, or below 0.
    """
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < float("inf"):
        raise ProjectError(f"{where} must be a number, 0 or more, not {value!r}", remedy="Write 1 for the model's own")
    return float(value)


def pattern_of(entry: str) -> str | None:
    """Return the regular expression that an entry of `Replay.ignore` is; None where it is a JSON path."""
    return entry[1:-1] if len(entry) > 2 and entry.startswith("/") and entry.endswith("/") else None


def _ignored(value: object, where: str) -> tuple[str, ...]:
    entries = strings(value, where, example='["messages.0.content", "/run-[0-9]+/"]')
    for entry in entries:
        if (pattern := pattern_of(entry)) is not None:
            try:
                re.compile(pattern)
            except re.error as error:
                raise ProjectError(f"{where} has {entry}, which is no regular expression: {error}") from error
    return entries
