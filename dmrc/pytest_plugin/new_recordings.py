"""What a test recorded, put in the place of what was recorded for it before."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

from dmrc.cassettes.cassette import Cassette, cassettes_in, path_of
from dmrc.cassettes.matching import Matcher
from dmrc.cassettes.writing import Recorded, locked, rewrite, write
from dmrc.files import make_as_its_parent


def take_over(new: Path, directory: Path, service: str, matcher: Matcher, *, is_complete: bool) -> None:
    """Write the cassettes of `new` to `directory`; lines that say the same stay as they are: a diff shows words.

    Where the recording `is_complete`, what was not asked any more is dropped, and a `service` that asked nothing has a
    cassette with nothing in it.

    Raises:
        CassetteError: A cassette cannot be read or written.
    """
    for path in cassettes_in(new):
        cassette = Cassette.open(path, matcher)
        turns: Counter[str] = Counter()
        recorded = []
        for entry in cassette.entries:
            recorded.append(Recorded(cassette.interaction(entry), entry.key, turns[entry.key]))
            turns[entry.key] += 1
        cassette.close()
        written = write(directory / path.name, path.stem, recorded, matcher)
        if is_complete:
            _keep(directory / path.name, {*written.places}, matcher)
    if is_complete:
        names = {path.name for path in cassettes_in(new)}
        for path in cassettes_in(directory):
            if path.name not in names:
                path.unlink()
        if not (own := path_of(directory, service)).exists():
            make_as_its_parent(directory)
            rewrite(own, service, [])


def _keep(path: Path, lines: set[int], matcher: Matcher) -> None:
    with locked(path.parent):
        cassette = Cassette.open(path, matcher)
        kept = [cassette.line(entry) for entry in cassette.entries if entry.number in lines]
        if len(kept) < len(cassette.entries):
            rewrite(path, cassette.service, kept)
        cassette.close()
