"""Which known name somebody may have meant; only an error asks."""

from __future__ import annotations

from collections.abc import Iterable


def closest(name: str, known: Iterable[str], *, most: int = 1, least_likeness: float = 0.6) -> list[str]:
    """Return the known names that are close to `name`, the closest first."""
    import difflib  # only for an error: every command imports this module

    return difflib.get_close_matches(name, list(known), n=most, cutoff=least_likeness)


def likeness(one: str, other: str) -> float:
    """Return how alike two words are: 0 nothing, 1 equal."""
    import difflib

    return difflib.SequenceMatcher(None, one, other).ratio()


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """Return ` (did you mean 'x'?)` where a known name is close, else nothing."""
    return suggested(*closest(name, known))


def suggested(*names: str) -> str:
    """Return ` (did you mean 'x'?)`, or nothing where no name is given."""
    return f" (did you mean {' or '.join(map(repr, names))}?)" if names else ""
