"""`dmrc cassette check`: whether cassettes may be committed."""

from __future__ import annotations

import dataclasses

import click

from dmrc.cli.options import json_option
from dmrc.cli.record.cassette.place import CassettePlace, cassette_name, cassette_options, shown


@click.command(
    short_help="Look for secrets, and for lines that are of no use.",
    epilog="Example: dmrc cassette check || exit 1, in a hook of git before each commit",
)
@click.argument("names", nargs=-1, metavar="[SERVICE|FILE|DIRECTORY...]", type=cassette_name)
@cassette_options
@json_option
def check(place: CassettePlace, names: tuple[str, ...], as_json: bool) -> int:
    """Look for secrets, keys, lines that cannot be read, and lines that no request finds; by default in all cassettes.

    The secrets of the project here are looked for, too. Needs no Docker, no daemon and no model. Prints FILE:LINE and
    what is wrong; exits with 1 where something is.
    """
    import json

    from dmrc.cassettes.check import problems
    from dmrc.cli.progress import note

    paths = place.chosen(names)
    found = [problem for path in paths for problem in problems(path, place.secrets)]
    if as_json:
        told = [{**dataclasses.asdict(one), "path": str(one.path)} for one in found]
        click.echo(json.dumps(told, indent=2, ensure_ascii=False))
    else:
        for one in found:
            click.echo(f"{shown(one.path)}:{one.line}: {one.what}")
        if not found:
            note(f"nothing is wrong with {len(paths)} cassette{'' if len(paths) == 1 else 's'}")
    return 1 if found else 0
