"""`dmrc cassette prune`: without what is not asked any more."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import click

from dmrc.cli.app import App, pass_app
from dmrc.cli.options import json_option
from dmrc.cli.record.cassette.place import CassettePlace, cassette_options

if TYPE_CHECKING:
    from dmrc.cassettes.cassette import Cassette
    from dmrc.fields import JsonObject

_WORDS = 60


@dataclass(frozen=True, slots=True)
class _Unused:
    """What goes of one cassette."""

    cassette: Cassette
    lines: dict[int, str]
    """First words of what was asked, by line."""


@click.command(
    short_help="Remove what the last run did not use.",
    epilog="Example: dmrc up --replay && dmrc cassette prune --dry-run",
)
@click.option("--dry-run", is_flag=True, help="Say what would go, and remove nothing.")
@click.option("--force", is_flag=True, help="Also after a run in which something was not recorded.")
@click.option("-y", "--yes", is_flag=True, help="Do not ask.")
@cassette_options
@json_option
@pass_app
def prune(app: App, place: CassettePlace, dry_run: bool, force: bool, yes: bool, as_json: bool) -> int:
    """Remove the requests that the last replay or recording of the project here did not use.

    A cassette of which it used nothing is left alone: its service may not have run. Nothing is removed where a cassette
    has changed since that run.
    """
    import json

    from dmrc.cassettes.rewriting import change
    from dmrc.cli.progress import note
    from dmrc.cli.record.cassette.last_run import last_run
    from dmrc.errors import InputError

    found = _unused(place, last_run(app, place), force=force)
    count = sum(len(one.lines) for one in found)
    if as_json:
        told = [
            {"place": f"{one.cassette.path.name}:{line}", "asked": words}
            for one in found
            for line, words in one.lines.items()
        ]
        click.echo(json.dumps(told, indent=2, ensure_ascii=False))
    else:
        for one in found:
            for line, words in one.lines.items():
                click.echo(f"{one.cassette.path.name}:{line}  {words}")
    if dry_run or not count:
        note(f"{_requests(count)} would be removed" if count else "the last run used all that is recorded")
        return 0
    if not yes:
        if not sys.stdin.isatty():
            raise InputError(f"{_requests(count)} would be removed, and nobody can be asked", remedy="Add --yes")
        if not click.confirm(f"Remove {_requests(count)}?", err=True):
            return 1
    for one in found:
        change(one.cassette, dict.fromkeys(one.lines), place.matcher)
    note(f"{_requests(count)} removed")
    return 0


def _unused(place: CassettePlace, report: JsonObject, *, force: bool) -> list[_Unused]:
    """Return what the run did not use.

    Raises:
        InputError: It cannot be told, for it is not the run of what is there now.
    """
    from dmrc.cli.progress import note
    from dmrc.errors import InputError
    from dmrc.json_values import items_of, object_of

    if (misses := len(items_of(report.get("misses")))) and not force:
        raise InputError(
            f"{_requests(misses)} of the last run {'was' if misses == 1 else 'were'} not recorded, so it may not have"
            " come to all that is asked",
            remedy="See: dmrc cassette diff; then record and replay again, or add --force",
        )
    if report.get("trouble"):
        raise InputError(f"the last run could not write all that it recorded: {report['trouble']}")
    found = []
    for name, told in object_of(report.get("services")).items():
        service = object_of(told)
        used = _used(service)
        path = Path(str(service.get("file")))
        if not used:
            note(f"{name}: the last run used nothing of it, so it is left alone")
        elif path.exists() and (one := _of_cassette(place.open(path), service, used)).lines:
            found.append(one)
    return found


def _of_cassette(cassette: Cassette, told: JsonObject, used: set[int]) -> _Unused:
    from dmrc.cassettes.words import first_words
    from dmrc.errors import InputError

    if list(cassette.stamp or ()) != told.get("stamp"):
        raise InputError(
            f"cassette '{cassette.path}' has changed since the last run", remedy="Replay again, and then prune"
        )
    unused = [entry for entry in cassette.entries if entry.number not in used]
    return _Unused(cassette, {entry.number: first_words(cassette.asked(entry), _WORDS) for entry in unused})


def _used(service: JsonObject) -> set[int]:
    """Return the lines that a run answered from, or wrote."""
    from dmrc.json_values import object_of

    written = service.get("written")
    lines = [*object_of(service.get("used")), *(written if isinstance(written, list) else [])]
    return {int(str(line)) for line in lines}


def _requests(number: int) -> str:
    return f"{number} request{'' if number == 1 else 's'}"
