"""Breaks the lines of an answer at words, as it comes."""

from __future__ import annotations

import re
import shutil

_PARTS = re.compile(r"\n|[^\S\n]+|\S+")
_FENCE = "```"


class WordWrap:
    """Holds the last word back until it is whole, and begins a new line where it would not fit.

    Code between ``` stays as it is: who copies it wants it as the model wrote it.
    """

    def __init__(self) -> None:
        """Begin at the left edge."""
        self._held = ""
        self._line = ""
        self._column = 0
        self._is_code = False

    def feed(self, text: str) -> str:
        """Take a piece, and return what can be printed now."""
        parts = _PARTS.findall(self._held + text)
        # The last word may go on, and whether the blanks before it are a line's end depends on how long it is.
        whole = len(parts)
        while whole and parts[whole - 1] != "\n" and len(parts) - whole < 2:
            whole -= 1
        self._held = "".join(parts[whole:])
        return self._placed(parts[:whole], parts[whole:])

    def end(self) -> str:
        """Return what was held back, and begin at the left edge again."""
        rest = self._placed(_PARTS.findall(self._held), [])
        self._held, self._line, self._column, self._is_code = "", "", 0, False
        return rest

    def _placed(self, parts: list[str], held: list[str]) -> str:
        following = [*parts[1:], *held[:1], ""]
        return "".join(self._place(part, after) for part, after in zip(parts, following, strict=False))

    def _place(self, part: str, following: str) -> str:
        """Return a part as it is printed before the whole one that follows."""
        from rich.cells import cell_len

        if part == "\n":
            self._is_code ^= self._line.lstrip().startswith(_FENCE)
            self._column, self._line = 0, ""
            return part
        columns = shutil.get_terminal_size().columns
        is_break = part.isspace() and bool(self._line.strip()) and not self._line.lstrip().startswith(_FENCE)
        self._line += part
        after = self._column + cell_len(part)
        if is_break and not self._is_code and after + cell_len(following) > columns >= cell_len(following):
            self._column = 0
            return "\n"
        self._column = after if after <= columns else after % columns
        return part
