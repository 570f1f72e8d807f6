"""`dmrc cassette show`: what was asked and answered, to read."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import click

from dmrc.cli.options import json_option
from dmrc.cli.record.cassette.place import CassettePlace, cassette_name, cassette_options, entry_at, split_line

if TYPE_CHECKING:
    from dmrc.cassettes.interaction import Interaction, RecordedAnswer
    from dmrc.cli.record.requests.lines import Screen
    from dmrc.fields import JsonObject

_LONGEST_PIECE = 70


@click.command(short_help="Show requests and their answers.", epilog="Example: dmrc cassette show api:14 --times")
@click.argument("name", metavar="SERVICE[:LINE]", type=cassette_name)
@click.option("--times", is_flag=True, help="Show when each piece of an answer came.")
@cassette_options
@json_option
def show(place: CassettePlace, name: str, times: bool, as_json: bool) -> None:
    """Show what SERVICE, or the file of a cassette, holds: messages, answers and tool calls. LINE is one of them.

    --json prints an array; with --times each answer has its pieces and the milliseconds before each.
    """
    import json

    from dmrc.cli.record.requests.lines import Screen

    wanted, line = split_line(name)
    cassette = place.open(place.file(wanted))
    entries = cassette.entries if line is None else [entry_at(cassette, line)]
    found = [(cassette.place(entry), cassette.interaction(entry)) for entry in entries]
    if as_json:
        documents = [_document(where, one, times=times) for where, one in found]
        click.echo(json.dumps(documents, indent=2, ensure_ascii=False))
        return
    screen = Screen.of_stdout()
    for number, (where, one) in enumerate(found):
        if number:
            click.echo()
        for text in _page(where, one, screen, times=times):
            click.echo(text)


def _page(place: str, interaction: Interaction, screen: Screen, *, times: bool) -> Iterator[str]:
    from dmrc.capture.summary import plain
    from dmrc.cli.record.messages import conversation_lines

    asked, answer = interaction.asked, interaction.answer
    colour = "green" if answer.status < 400 else "red"
    status = screen.style(str(answer.status), fg=colour)
    yield f"{screen.style(place, fg='cyan')}  {plain(asked.path, 200)}  {status}"
    yield f"model {plain(asked.model, 80)} = {plain(answer.model or '-', 200)}"
    yield screen.style(_form(interaction), dim=True)
    yield from conversation_lines(interaction.as_exchange(), screen)
    if times:
        yield ""
        yield from _times(answer, screen)


def _times(answer: RecordedAnswer, screen: Screen) -> Iterator[str]:
    """Yield when each piece came, and its words; of one that is not as most are, its bytes."""
    from dmrc.capture.summary import plain
    from dmrc.cassettes.frames import frame_of, words_in

    texts = [piece.data.decode("utf-8", "replace") for piece in answer.pieces]
    frame = frame_of(texts) if answer.is_stream else None
    for piece, text in zip(answer.pieces, texts, strict=True):
        words = words_in(frame, text) if frame is not None else None
        shown = repr(words) if words is not None else screen.style(plain(text, _LONGEST_PIECE), dim=True)
        yield f"{piece.after_ms:>9.1f} ms  {shown}"


def _form(interaction: Interaction) -> str:
    """Return how the answer came: `stream of 14 pieces in 320 ms`, `whole after 1.20 s`."""
    from dmrc.figures import span_text

    answer = interaction.answer
    took = span_text(sum(piece.after_ms for piece in answer.pieces))
    if not answer.is_stream:
        return f"{interaction.asked.dialect} {interaction.asked.operation} · whole after {took}"
    count = len(answer.pieces)
    pieces = f"{count} piece{'' if count == 1 else 's'}"
    return f"{interaction.asked.dialect} {interaction.asked.operation} · stream of {pieces} in {took}"


def _document(place: str, interaction: Interaction, *, times: bool) -> JsonObject:
    from dataclasses import asdict
    from typing import cast

    from dmrc.capture.conversation import answered, asked

    exchange, answer = interaction.as_exchange(), interaction.answer
    document: JsonObject = {
        "place": place,
        "dialect": interaction.asked.dialect,
        "operation": interaction.asked.operation,
        "path": interaction.asked.path,
        "model": interaction.asked.model,
        "request": interaction.asked.body,
        "messages": [cast("JsonObject", asdict(message)) for message in asked(exchange)],
        "answer": {
            "model": answer.model,
            "status": answer.status,
            "type": answer.content_type,
            "is_stream": answer.is_stream,
            "pieces": len(answer.pieces),
            "took_ms": round(sum(piece.after_ms for piece in answer.pieces), 1),
            "messages": [cast("JsonObject", asdict(message)) for message in answered(exchange)],
        },
    }
    if times:
        document["pieces"] = [[piece.after_ms, piece.data.decode("utf-8", "replace")] for piece in answer.pieces]
    return document
