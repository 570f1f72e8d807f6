"""Prints answers as they come: what the model says to stdout, what it thinks where it is in nobody's way."""

from __future__ import annotations

import sys
from collections.abc import Iterator

import click

from dmrc.cli.serving.chat.conversation import AnswerPart, Conversation
from dmrc.cli.serving.chat.wrapping import WordWrap


def print_answer(pieces: Iterator[AnswerPart]) -> str:
    """Print an answer to its end, and return what was said. On a terminal thoughts are dimmed; else they go to stderr.

    A caller that is interrupted closes the iterator, which ends the request.
    """
    on_terminal = sys.stdout.isatty()
    thinking = False
    said: list[str] = []
    wrap = WordWrap() if on_terminal else None
    for piece in pieces:
        if piece.reasoning:
            thinking = True
            text = wrap.feed(piece.reasoning) if wrap else piece.reasoning
            click.secho(text, nl=False, dim=True, err=not on_terminal)
        if piece.text:
            if thinking:
                click.secho(wrap.end() if wrap else "", nl=False, dim=True, err=not on_terminal)
                click.echo("\n", err=not on_terminal)
                thinking = False
            said.append(piece.text)
            click.echo(wrap.feed(piece.text) if wrap else piece.text, nl=False)
    click.echo(wrap.end() if wrap else "")
    return "".join(said)


def print_usage(conversation: Conversation) -> None:
    """Print the tokens of the last answer to stderr."""
    usage = conversation.last_usage
    parts = [f"{usage.get('prompt_tokens', 0):.0f} tokens in", f"{usage.get('completion_tokens', 0):.0f} out"]
    if rate := usage.get("tokens_per_second"):
        parts.append(f"{rate:.0f} tokens/s")
    click.secho(f"({', '.join(parts)})", dim=True, err=True)
