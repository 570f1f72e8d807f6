"""`dmrc cassette from-requests`: cassettes of what is on record already."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from dmrc.cli.app import App, pass_app
from dmrc.cli.options import json_option
from dmrc.cli.record.cassette.place import CassettePlace, cassette_options, shown
from dmrc.cli.record.requests.filters import chosen, filter_options

if TYPE_CHECKING:
    from dmrc.capture.database import ExchangeDatabase
    from dmrc.fields import JsonObject


@click.command(
    "from-requests",
    short_help="Make cassettes of requests on record.",
    epilog="Example: dmrc cassette from-requests --service api --since 1h --dry-run",
)
@filter_options
@click.option("--last", type=click.IntRange(1, 1_000_000), default=1000, show_default=True, help="How many at most.")
@click.option("-o", "--output", type=click.Path(path_type=Path, file_okay=False), help="The same as --dir.")
@click.option("--dry-run", is_flag=True, help="Say what would be written, and write nothing.")
@cassette_options
@json_option
@pass_app
def from_requests(
    app: App, /, place: CassettePlace, last: int, output: Path | None, dry_run: bool, as_json: bool, **given: Any
) -> int:
    """Write requests of dmrc requests, with their answers, to cassettes: to new ones, or into those that are there.

    They are chosen as dmrc requests does it, by default all of the project here. What a cassette has already stays as
    it is; another answer to the same request takes its place. Exits with 1 where nothing could be written.
    """
    import json

    from dmrc.cli.progress import note
    from dmrc.errors import NotFoundError

    given["project"] = given["project"] or place.project
    database = app.record
    page = database.page(chosen(app, given), last)[::-1]
    if not page:
        of = f" of project '{given['project']}'" if given["project"] else ""
        raise NotFoundError(f"no request{of} is on record that matches", remedy="See: dmrc requests")
    directory = output or place.directory
    services = _services(database, [one.id for one in page], directory, place.ignore, dry_run=dry_run)
    if as_json:
        click.echo(json.dumps(services, indent=2))
    else:
        for line in _lines(services, directory):
            click.echo(line)
    if dry_run:
        note("nothing is written")
    return 0 if any(one["recorded"] or one["unchanged"] for one in services.values()) else 1


def _services(
    database: ExchangeDatabase, ids: Iterable[str], directory: Path, ignore: tuple[str, ...], *, dry_run: bool
) -> dict[str, dict[str, Any]]:
    """Record the exchanges as a run does, and return its report of each service."""
    from dmrc.cassettes.cassette import cassettes_in
    from dmrc.json_values import object_of

    with tempfile.TemporaryDirectory() as temporary:
        target = directory
        if dry_run:
            target = Path(temporary)
            for path in cassettes_in(directory):
                shutil.copy(path, target)
        report = _recorded(database, ids, target, ignore)
    found = object_of(report.get("services"))
    return {name: object_of(told) for name, told in found.items() if "recorded" in object_of(told)}


def _recorded(database: ExchangeDatabase, ids: Iterable[str], directory: Path, ignore: tuple[str, ...]) -> JsonObject:
    from dmrc.cassettes.runs import ReplayRun
    from dmrc.cli.progress import spinner
    from dmrc.errors import StoreError
    from dmrc.project import Replay

    run = ReplayRun.load(Replay(directory=str(directory), mode="record", ignore=ignore))
    try:
        with spinner("writing cassettes"):
            for id in ids:
                run.add(database.get(id))
            run.flush()
        report = run.report()
    finally:
        run.close()
    if report.get("trouble"):
        raise StoreError(f"{report['trouble']}")
    return report


def _lines(services: dict[str, dict[str, Any]], directory: Path) -> Iterable[str]:
    """Yield what became of each service's requests: how many are in its cassette, and why others are not."""
    for name, told in services.items():
        new = told["recorded"] - told["replaced"]
        counts = {"new": new, "with another answer": told["replaced"], "there already": told["unchanged"]}
        parts = [f"{count} {what}" for what, count in counts.items() if count] or ["nothing"]
        yield f"{shown(directory / f'{name}.jsonl')}: {', '.join(parts)}"
        for why, count in told["left_out"].items():
            yield f"  {count} left out: {why}"
