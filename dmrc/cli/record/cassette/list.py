"""`dmrc cassette list`: which services have recorded answers."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from dmrc.cli.options import json_option
from dmrc.cli.record.cassette.place import CassettePlace, cassette_options, shown

if TYPE_CHECKING:
    from dmrc.fields import JsonObject

_HEADERS = ("SERVICE", "INTERACTIONS", "MODELS", "SIZE", "CHANGED", "FILE")


@click.command("list", short_help="List the cassettes.", epilog="Example: dmrc cassette list --dir tests/cassettes")
@cassette_options
@json_option
def list_(place: CassettePlace, as_json: bool) -> int:
    """List the cassettes of the project here: what each service asked, and which models answered it.

    Exits with 1 where one cannot be read.
    """
    import json

    from dmrc.cassettes.errors import CassetteError
    from dmrc.cli.progress import note
    from dmrc.cli.tables import print_table

    found, damaged = [], 0
    for path in place.files():
        try:
            found.append(_facts(place, path))
        except CassetteError as error:
            damaged += 1
            note(str(error))
    if as_json:
        click.echo(json.dumps(found, indent=2))
    else:
        print_table(_HEADERS, [_row(one) for one in found])
    return 1 if damaged else 0


def _facts(place: CassettePlace, path: Path) -> JsonObject:
    cassette, status = place.open(path), path.stat()
    models = dict.fromkeys(cassette.asked(entry).model for entry in cassette.entries)
    return {
        "service": cassette.service,
        "interactions": len(cassette.entries),
        "models": list(models),
        "size_bytes": status.st_size,
        "changed_at": status.st_mtime,
        "file": str(path),
    }


def _row(found: JsonObject) -> list[str]:
    from dmrc.cli.tables import ago, size

    models = found["models"]
    return [
        str(found["service"]),
        str(found["interactions"]),
        ", ".join(map(str, models)) if isinstance(models, list) and models else "-",
        size(float(str(found["size_bytes"]))),
        ago(float(str(found["changed_at"]))),
        shown(Path(str(found["file"]))),
    ]
