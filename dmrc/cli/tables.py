"""Tables as Docker prints them: headers in capitals, columns padded with two spaces, no lines; and words for sizes."""

from __future__ import annotations

import time
from collections.abc import Sequence

import click


def print_table(headers: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Print a table on stdout."""
    widths = [max(len(row[column]) for row in (headers, *rows)) for column in range(len(headers))]
    for row in (headers, *rows):
        line = "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True))
        click.echo(line.rstrip())


def print_facts(facts: Sequence[tuple[str, str]]) -> None:
    """Print names with their values, one on each line, the values below one another."""
    width = max(len(name) for name, _ in facts) + 1
    for name, value in facts:
        click.echo(f"{name + ':':{width}}  {value}")


def size(count: float | None) -> str:
    """Return bytes in decimal units, `98.36 MB`; a dash for None."""
    if count is None:
        return "-"
    from dmrc.gguf import format_size

    return format_size(count)


def duration(seconds: float) -> str:
    """Return a time span in its largest unit, `3 minutes`."""
    for unit, length in (("day", 86400), ("hour", 3600), ("minute", 60)):
        if seconds >= length:
            count = int(seconds // length)
            return f"{count} {unit}{'s' if count > 1 else ''}"
    return f"{int(seconds)} second{'' if int(seconds) == 1 else 's'}"


def ago(unix_seconds: float | None) -> str:
    """Return how long ago, `3 minutes ago`; a dash for None."""
    return "-" if unix_seconds is None else f"{duration(max(0.0, time.time() - unix_seconds))} ago"
