"""Changes that a person makes to a cassette: lines that say something else, lines that go."""

from __future__ import annotations

from collections.abc import Mapping

from dmrc.cassettes.cassette import Cassette
from dmrc.cassettes.errors import CassetteError
from dmrc.cassettes.matching import Matcher
from dmrc.cassettes.writing import locked, rewrite


def change(cassette: Cassette, lines: Mapping[int, str | None], matcher: Matcher) -> None:
    """Put these lines in place of those with their numbers; None removes one. All others stay as they are. Blocks.

    Raises:
        CassetteError: Somebody has written to it since it was opened, or it cannot be written.
    """
    try:
        with locked(cassette.path.parent):
            _check(cassette, matcher)
            kept = [lines.get(entry.number, cassette.line(entry)) for entry in cassette.entries]
            rewrite(cassette.path, cassette.service, [line for line in kept if line is not None])
    except OSError as error:
        raise CassetteError(f"cassette '{cassette.path}' cannot be written: {error.strerror}") from error


def _check(cassette: Cassette, matcher: Matcher) -> None:
    now = Cassette.open(cassette.path, matcher)
    try:
        is_same = tuple(now.entries) == tuple(cassette.entries) and all(
            now.line(entry) == cassette.line(entry) for entry in cassette.entries
        )
    except CassetteError:  # somebody has written into the very file
        is_same = False
    finally:
        now.close()
    if not is_same:
        raise CassetteError(f"cassette '{cassette.path}' was changed meanwhile", remedy="Look at it, and try again")
