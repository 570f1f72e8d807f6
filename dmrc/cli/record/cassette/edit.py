"""`dmrc cassette edit`: an answer or a request, changed by hand."""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Mapping
from typing import IO, TYPE_CHECKING

import click

from dmrc.cli.record.cassette.place import CassettePlace, cassette_name, cassette_options, entry_at, split_line

if TYPE_CHECKING:
    from dmrc.cassettes.cassette import Cassette
    from dmrc.cassettes.interaction import Interaction

_IN_EDITOR = "the text"
"""Stands for a file in what is said of a text that was never one."""


@click.command(
    short_help="Change requests or answers as text.",
    epilog="Example: dmrc cassette edit api:14; in a script: dmrc cassette edit api:14 --get | sed s/Paris/Rome/ | "
    "dmrc cassette edit api:14 --set -",
)
@click.argument("name", metavar="SERVICE[:LINE]", type=cassette_name)
@click.option("--get", is_flag=True, help="Print the text, and open no editor.")
@click.option("--set", "given", type=click.File(encoding="utf-8"), metavar="FILE", help="Take this text; - is stdin.")
@cassette_options
def edit(place: CassettePlace, name: str, get: bool, given: IO[str] | None) -> None:
    """Change what SERVICE asked or was answered, in $VISUAL or $EDITOR: all of it, or LINE alone.

    It is YAML: the request as it was sent, and the texts and tool calls of the answer. A stream stays a stream of as
    many pieces with their times; only what it says changes.
    """
    from dmrc.cassettes.errors import CassetteError
    from dmrc.cassettes.yaml_form import from_yaml, to_yaml
    from dmrc.cli.progress import note
    from dmrc.errors import InputError

    wanted, line = split_line(name)
    cassette = place.open(place.file(wanted))
    entries = cassette.entries if line is None else [entry_at(cassette, line)]
    before = {entry.number: cassette.interaction(entry) for entry in entries}
    text = to_yaml(before.items(), cassette.path.name)
    if get and given is not None:
        raise InputError("--get and --set exclude one another", remedy="Leave one of them out")
    if get:
        click.echo(text, nl=False)
        return
    if given is not None:
        saved, changed = None, from_yaml(given.read(), given.name, before)
    else:
        saved, changed = _edited(text, name, before)
    if not changed:
        note("nothing is changed")
        return
    try:
        _write(place, cassette, changed)
    except CassetteError as error:
        if saved is None:
            raise
        raise CassetteError(f"{error.message}; your text is kept in {_kept(saved)}", remedy=error.remedy) from error


def _write(place: CassettePlace, cassette: Cassette, changed: Mapping[int, Interaction]) -> None:
    from dmrc.capture.redaction import Redactor
    from dmrc.cassettes.check import secrets_in
    from dmrc.cassettes.lines import line_of
    from dmrc.cassettes.rewriting import change
    from dmrc.cli.progress import note

    redactor = Redactor(place.secrets)
    change(cassette, {line: line_of(one) for line, one in changed.items()}, place.matcher)
    for line, one in changed.items():
        note(f"changed {cassette.path.name}:{line}")
        for what in secrets_in(one, redactor):
            note(f"{cassette.path.name}:{line}: {what}")


def _edited(text: str, name: str, before: Mapping[int, Interaction]) -> tuple[str, dict[int, Interaction]]:
    """Return a text as a person leaves it in an editor, and what that changes.

    One that cannot be meant is edited again, or kept in a file.

    Raises:
        InputError: There is no editor, or the text cannot be meant.
    """
    from dmrc.cassettes.yaml_form import from_yaml
    from dmrc.cli.progress import note
    from dmrc.errors import InputError

    if not sys.stdin.isatty() and not (os.environ.get("VISUAL") or os.environ.get("EDITOR")):
        raise InputError("there is no terminal to edit in", remedy="Use --get and --set FILE, or set EDITOR")
    while True:
        try:
            saved = click.edit(text, extension=".yaml")
        except click.ClickException as error:
            raise InputError(error.message, remedy="Set VISUAL or EDITOR to an editor that is here") from error
        if saved is None:
            return text, {}
        try:
            return saved, from_yaml(saved, _IN_EDITOR, before)
        except InputError as error:
            text = saved
            if sys.stdin.isatty():
                note(f"dmrc: {str(error).replace(f'{_IN_EDITOR}:', 'line ', 1)}")
                if click.confirm("Edit it again?", default=True, err=True):
                    continue
            kept = _kept(saved)
            message = error.message.replace(f"{_IN_EDITOR}:", f"{kept}:", 1)
            first = f"{error.remedy}. " if error.remedy else ""
            remedy = f"{first}Correct it there, and run: dmrc cassette edit {name} --set {kept}"
            raise InputError(message, remedy=remedy) from error


def _kept(text: str) -> str:
    """Write a text that somebody has worked on where it is not lost, and return where that is."""
    descriptor, path = tempfile.mkstemp(prefix="dmrc-edit-", suffix=".yaml")
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        file.write(text)
    return path
