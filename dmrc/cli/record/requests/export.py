"""`dmrc requests export`: recorded requests as programs, archives and data sets."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from dmrc.cli.app import App, pass_app
from dmrc.cli.record.requests.filters import chosen, filter_options

if TYPE_CHECKING:
    from dmrc.exchange import Exchange

_FORMS = ("jsonl", "curl", "python", "node", "har", "openai-eval")


@click.command(epilog="Example: dmrc requests export aed47506 --as python -o again.py")
@click.argument("ids", nargs=-1, metavar="[ID...]")
@click.option("--as", "form", type=click.Choice(_FORMS), default="jsonl", show_default=True, help="In which form.")
@click.option("-o", "--output", type=click.Path(path_type=Path, dir_okay=False), help="A file instead of stdout.")
@filter_options
@click.option("-n", "--limit", type=click.IntRange(1, 1_000_000), default=1000, show_default=True, help="How many.")
@pass_app
def export(app: App, /, ids: tuple[str, ...], form: str, output: Path | None, limit: int, **given: Any) -> None:
    """Write requests as programs or as data. They are chosen by ids or by the options; the oldest is first.

    curl, python and node are programs that ask again; their key is $OPENAI_API_KEY. har is for browsers' tools,
    openai-eval is a data set of the evals framework.
    """
    from dmrc.capture.exports import FORMS, is_whole
    from dmrc.cli.progress import note
    from dmrc.errors import InputError

    database = app.record
    if ids and any(given.values()):
        raise InputError("requests are exported by id or by options", remedy="Leave one of them out")
    wanted = [one.id for one in database.page(chosen(app, given), limit)[::-1]] if not ids else list(ids)
    exchanges = [database.get(id) for id in wanted]
    write = FORMS[form]
    usable = [exchange for exchange in exchanges if write.accepts(exchange)]
    if not usable:
        raise InputError(f"no request can be written as {form}", remedy=write.needs)
    if left_out := len(exchanges) - len(usable):
        note(f"{left_out} of {len(exchanges)} requests left out. {write.needs}")
    _note_changed([exchange for exchange in usable if not is_whole(exchange)])
    text = write.text(usable, f"http://127.0.0.1:{app.settings.port}")
    if output is None:
        click.echo(text, nl=False)
    else:
        write_private(output, text)


def _note_changed(exchanges: list[Exchange]) -> None:
    from dmrc.capture.summary import short_id
    from dmrc.cli.progress import note

    if exchanges:
        names = ", ".join(short_id(exchange.id) for exchange in exchanges[:5])
        more = " and others" if len(exchanges) > 5 else ""
        note(f"not as they were sent, since secrets, pictures or sounds were taken out: {names}{more}")


def write_private(path: Path, text: str) -> None:
    """Write a file that only this user can read: it holds what people asked.

    Raises:
        InputError: It cannot be written.
    """
    from dmrc.errors import InputError

    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    except OSError as error:
        raise InputError(f"'{path}' cannot be written: {error.strerror}") from error
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        file.write(text)
