"""`dmrc cassette diff`: what was asked and is not recorded, and what differs between two cassettes."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import click

from dmrc.cli.app import App, pass_app
from dmrc.cli.options import json_option
from dmrc.cli.record.cassette.place import CassettePlace, cassette_options, entry_at, split_line

if TYPE_CHECKING:
    from dmrc.cassettes.comparison import Change
    from dmrc.cli.record.requests.lines import Screen
    from dmrc.fields import JsonObject

_COLOURS = {"+": "green", "-": "red", "@": "cyan"}
_KINDS = {"added": "only in the second", "gone": "only in the first", "answer": "another answer"}


_EPILOG = "Example: dmrc cassette diff; and after a new recording: dmrc cassette diff old-cassettes cassettes"


@click.command(short_help="Show what was not recorded, or what differs between two.", epilog=_EPILOG)
@click.argument("old", required=False, type=click.Path(exists=True, path_type=Path))
@click.argument("new", required=False, type=click.Path(exists=True, path_type=Path))
@cassette_options
@json_option
@pass_app
def diff(app: App, place: CassettePlace, old: Path | None, new: Path | None, as_json: bool) -> int:
    """Show what the last replay of the project here asked and no cassette has, beside the nearest that is recorded.

    With two directories or files: which requests are in one of them only, and which were answered otherwise. Exits with
    1 where there is a difference.
    """
    from dmrc.cli.record.requests.lines import Screen
    from dmrc.errors import InputError

    if old is not None and new is not None:
        return _two(place, old, new, as_json=as_json)
    if old is not None:
        raise InputError("one cassette alone differs from nothing", remedy="Name two, or none to see the last replay")
    return _misses(app, place, Screen.of_stdout(), as_json=as_json)


def _two(place: CassettePlace, old: Path, new: Path, *, as_json: bool) -> int:
    import json
    from dataclasses import asdict

    from dmrc.cli.progress import note
    from dmrc.cli.record.requests.lines import Screen

    found = list(_changes(place, old, new))
    if as_json:
        click.echo(json.dumps([asdict(change) for change in found], indent=2, ensure_ascii=False))
    elif not found:
        note("both hold the same requests with the same answers")
    screen = Screen.of_stdout()
    for number, change in enumerate(() if as_json else found):
        if number:
            click.echo()
        lines = "→".join(str(line) for line in (change.old_line, change.new_line) if line is not None)
        click.echo(screen.style(f"{change.service}:{lines}  {_KINDS[change.kind]}", bold=True))
        _echo(change.lines, screen)
    return 1 if found else 0


def _changes(place: CassettePlace, old: Path, new: Path) -> Iterator[Change]:
    from dataclasses import replace

    from dmrc.cassettes.comparison import compare
    from dmrc.errors import InputError

    if old.is_dir() != new.is_dir():
        raise InputError("a directory cannot be compared with a file", remedy="Name two directories, or two files")
    if not old.is_dir():
        yield from compare(place.open(old), place.open(new), place.matcher)
        return
    names = {path.relative_to(directory) for directory in (old, new) for path in directory.rglob("*.jsonl")}
    for name in sorted(names):
        before, after = (place.open(path) if path.exists() else None for path in (old / name, new / name))
        for change in compare(before, after, place.matcher):
            yield replace(change, service=str(name.with_suffix("")))  # tests have cassettes of one name each


def _misses(app: App, place: CassettePlace, screen: Screen, *, as_json: bool) -> int:
    import json

    from dmrc.cli.progress import note
    from dmrc.cli.record.cassette.last_run import last_run
    from dmrc.json_values import items_of

    report = last_run(app, place)
    directory = Path(str(report.get("directory") or place.directory))
    found = [_told(place, directory, miss) for miss in items_of(report.get("misses"))]
    if as_json:
        click.echo(json.dumps(found, indent=2, ensure_ascii=False))
        return 1 if found else 0
    if not found:
        note("the last replay found all that was asked")
    for number, miss in enumerate(found):
        if number:
            click.echo()
        nearest = f"nearest: {miss['nearest']}" if miss["nearest"] else "nothing like it is recorded"
        click.echo(screen.style(f"{miss['service'] or '-'}  not recorded, {nearest}", bold=True))
        _echo([str(line) for line in _list(miss["diff"])], screen)
    return 1 if found else 0


def _told(place: CassettePlace, directory: Path, miss: JsonObject) -> JsonObject:
    """Return a miss with the whole difference from the nearest recorded request, line by line."""
    from dmrc.cassettes.comparison import request_lines, unified
    from dmrc.cassettes.lines import asked_from
    from dmrc.json_values import object_of

    wanted = request_lines(asked_from(object_of(miss.get("request"))), place.matcher)
    nearest = miss.get("nearest")
    recorded: list[str] = []
    if isinstance(nearest, str):
        file, line = split_line(nearest)
        cassette = place.open(directory / file)
        recorded = request_lines(cassette.asked(entry_at(cassette, line or 0)), place.matcher)
    return {
        "service": miss.get("service"),
        "nearest": nearest,
        "message": miss.get("message"),
        "request": miss.get("request"),
        "diff": [*(unified(recorded, wanted) if recorded else (f"+{text}" for text in wanted))],
    }


def _echo(lines: Iterable[str], screen: Screen) -> None:
    from dmrc.capture.summary import printable

    for line in lines:
        colour = _COLOURS.get(line[:1])
        text = printable(line.expandtabs(4))
        click.echo(screen.style(text, fg=colour) if colour else text)


def _list(value: object) -> list[object]:
    return value if isinstance(value, list) else []
