"""`dmrc run`: one question and one streamed answer, or a conversation."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import click

from dmrc.cli.app import App, pass_app
from dmrc.cli.options import as_text, json_option, model_name, server_option, words

if TYPE_CHECKING:
    from dmrc.cli.serving.chat.conversation import Content, Conversation


@click.command(epilog='Example: dmrc run ai/smollm2 "Tell me an interesting fact"')
@click.option("-d", "--detach", is_flag=True, help="Load the model and return.")
@click.option("--system", type=words, metavar="TEXT", help="Instruction that stands before the conversation.")
@click.option("--keep-alive", metavar="TIME", help="How long the model stays loaded afterwards: 5m, 0, -1 for ever.")
@click.option("-v", "--verbose", is_flag=True, help="Print tokens and rate to stderr.")
@server_option
@json_option
@click.argument("reference", type=model_name, metavar="MODEL")
@click.argument("prompt", nargs=-1, type=words)
@pass_app
def run(
    app: App,
    reference: str,
    prompt: tuple[str, ...],
    detach: bool,
    system: str | None,
    keep_alive: str | None,
    verbose: bool,
    url: str | None,
    as_json: bool,
) -> None:
    """Ask a model, and print its answer as it comes; without a prompt, talk with it. A missing model is pulled first.

    What is piped in is put behind the prompt. A word @path puts a file into it; the path of an image needs no @.
    Thoughts of a reasoning model go to stderr when stdout is no terminal.
    """
    import time

    from dmrc.cli.progress import PullProgress
    from dmrc.cli.serving.chat.conversation import Conversation
    from dmrc.cli.serving.chat.server import ChatServer
    from dmrc.project import parse_keep_alive

    parse_keep_alive(keep_alive, "--keep-alive")
    if url is not None and (detach or keep_alive):
        raise click.UsageError("--detach and --keep-alive are for models that are served here, not for --openaiurl")
    question = None if detach else _question(prompt)
    if url is not None:
        _converse(
            app, Conversation(ChatServer.named(url), reference, system), question, verbose=verbose, as_json=as_json
        )
        return
    with PullProgress() as progress:
        app.models.pull(reference, progress.of(reference), cancelled=progress.cancelled)
    since = time.time()
    with app.daemon.needed():
        if detach:
            app.daemon.preload(reference)
            _tell_notices(app, reference, since)
            return
        conversation = Conversation(ChatServer.gateway(app.settings.port), reference, system)
        conversation.on_loaded = partial(_tell_notices, app, reference, since)
        if keep_alive is not None:
            conversation.parameters["keep_alive"] = keep_alive
        if question is None:
            app.daemon.preload(reference, wait=False)
        _converse(app, conversation, question, verbose=verbose, as_json=as_json)


def _tell_notices(app: App, reference: str, since: float) -> None:
    """Say on stderr what there is to say of runners of a model that began to load after a Unix second."""
    import contextlib

    from dmrc.cli.progress import note
    from dmrc.errors import DmrcError

    with contextlib.suppress(DmrcError):  # the answer that is coming is worth more
        digest = app.present(reference).digest
        for runner in app.daemon.runners():
            began_at = runner["began_at"]
            if runner["digest"] == digest and isinstance(began_at, float) and began_at > since and runner.get("notice"):
                note(str(runner["notice"]))


def _question(prompt: tuple[str, ...]) -> Content | None:
    """Return what to ask: the words with their files, and what is piped in; None where a person sits and typed none.

    What is piped in stays as it is: it may come from anywhere, and must not say which files of this machine are sent.
    """
    import sys

    from dmrc.cli.serving.chat.files import expand

    typed = " ".join(prompt)
    if sys.stdin.isatty():
        return expand(typed) if typed else None
    piped = as_text(sys.stdin.buffer.read())
    if not typed.strip() and not piped.strip():
        raise click.UsageError("there is no prompt, and nothing is piped in")
    if not typed.strip():
        return piped
    if not piped.strip():
        return expand(typed)
    content = expand(typed)
    if isinstance(content, str):
        return f"{content}\n\n{piped}"
    return [*content, {"type": "text", "text": piped}]


def _converse(app: App, conversation: Conversation, question: Content | None, *, verbose: bool, as_json: bool) -> None:
    if question is not None:
        _ask(conversation, question, verbose=verbose, as_json=as_json)
        return
    from dmrc.cli.serving.chat.session import ChatSession, terminal

    ChatSession(conversation, terminal(app.settings.home / "chat_history"), verbose=verbose).run()


def _ask(conversation: Conversation, question: Content, *, verbose: bool, as_json: bool) -> None:
    from dmrc.cli.serving.chat.printer import print_answer, print_usage

    pieces = conversation.ask(question)
    if as_json:
        import json

        whole = list(pieces)
        document = {
            "content": "".join(piece.text for piece in whole),
            "reasoning": "".join(piece.reasoning for piece in whole) or None,
            "usage": conversation.last_usage,
        }
        click.echo(json.dumps(document, indent=2, ensure_ascii=False))
        return
    print_answer(pieces)
    if verbose:
        print_usage(conversation)
