"""`dmrc requests rm`: requests that shall not be on record."""

from __future__ import annotations

import sys
from typing import Any

import click

from dmrc.cli.app import App, pass_app
from dmrc.cli.record.requests.filters import chosen, filter_options


@click.command(epilog="Example: dmrc requests rm --project facts --before 7d")
@click.argument("ids", nargs=-1, metavar="[ID...]")
@filter_options
@click.option("-y", "--yes", is_flag=True, help="Do not ask.")
@pass_app
def rm(app: App, /, ids: tuple[str, ...], yes: bool, **given: Any) -> int:
    """Delete requests by their ids, or all that the options show.

    They are gone from the file: what they took is overwritten with zeros, and the search index is merged.
    """
    from dmrc.cli.progress import note, spinner
    from dmrc.errors import InputError

    by_options = any(given.values())
    if bool(ids) == by_options:
        raise InputError("requests are deleted by id or by options", remedy="Run: dmrc requests rm ID, or --before 7d")
    database = app.record
    found = list(dict.fromkeys(database.get(id).id for id in ids)) if ids else database.ids(chosen(app, given))
    if not found:
        note("no request was recorded that matches")
        return 0
    if by_options and not yes:
        if not sys.stdin.isatty():
            raise InputError(f"{len(found)} requests would be deleted, and nobody can be asked", remedy="Add --yes")
        if not click.confirm(f"Delete {_count(len(found))} for good?", err=True):
            return 1
    with spinner(f"deleting {_count(len(found))}"):
        erased = database.erase(found)
    database.close()
    note(f"{_count(erased)} deleted")
    return 0


def _count(number: int) -> str:
    return f"{number} request{'' if number == 1 else 's'}"
