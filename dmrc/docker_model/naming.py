"""Names commands as people type them at `docker model`, in help texts and in what an error says to do next."""

from __future__ import annotations

import re
from collections.abc import Iterable

import click

_SHARED = (
    "list ls inspect show status version ps df logs unload stop pull push rm tag run package configure search bench "
    "launch"
)
"""Commands that do the same in both command lines; `dmrc requests` and the others are dmrc's own, and stay so named."""
_COMMAND = re.compile(rf"\bdmrc (?=(?:{'|'.join(_SHARED.split())})\b)")


def as_typed(text: str) -> str:
    """Return a text with `docker model pull` where it says `dmrc pull`."""
    return _COMMAND.sub("docker model ", text)


class HelpFormatter(click.HelpFormatter):
    """Writes the help of dmrc's commands in these words."""

    def write_text(self, text: str) -> None:
        """Write a paragraph: a command's description, or its example."""
        super().write_text(as_typed(text))

    def write_dl(self, rows: Iterable[tuple[str, str]], col_max: int = 30, col_spacing: int = 2) -> None:
        """Write options with their help."""
        super().write_dl([(name, as_typed(text)) for name, text in rows], col_max, col_spacing)
