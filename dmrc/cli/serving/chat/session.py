"""The conversation as a person types it: a line, a command, or several lines between triple quotes."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import click

from dmrc.cli.options import as_text
from dmrc.cli.serving.chat.conversation import Conversation
from dmrc.cli.serving.chat.files import expand
from dmrc.cli.serving.chat.printer import print_answer, print_usage
from dmrc.errors import DmrcError, InputError
from dmrc.exchange import JsonValue

HELP = '''\
  /set system TEXT           instruction that stands before the conversation
  /set parameter NAME VALUE  temperature, top_p, top_k, min_p, seed, max_tokens, stop, …
  /set verbose, /set quiet   print tokens and rate after each answer, or not
  /show                      print the model, the instruction and the parameters
  /clear                     forget the conversation
  /bye                       leave (Ctrl+D too)
  """                        begins and ends a message of several lines
  @path                      puts a file into the message; an image (./cat.png) needs no @
  Ctrl+C stops an answer.  Ctrl+X Ctrl+E opens an editor.'''

ReadLine = Callable[[str], str]
"""Reads a line after a prompt; raises EOFError at its end, and KeyboardInterrupt at Ctrl+C."""

_QUOTES = '"""'
# Names that Ollama's and llama.cpp's users know, and OpenAI's for them.
_ALIASES = {"num_predict": "max_tokens", "n_predict": "max_tokens"}


class QuitChat(Exception):
    """The user is done."""


class ChatSession:
    """Reads, asks and prints until the user leaves."""

    def __init__(self, conversation: Conversation, read: ReadLine, *, verbose: bool = False) -> None:
        """Talk over `conversation`."""
        self._conversation = conversation
        self._read = read
        self._verbose = verbose

    def run(self) -> None:
        """Go on until the user leaves."""
        while True:
            try:
                self._turn()
            except KeyboardInterrupt:
                click.echo("\nUse Ctrl+D or /bye to leave.", err=True)
            except (EOFError, QuitChat):
                return
            except DmrcError as error:
                click.echo(f"dmrc: {error}", err=True)

    def _turn(self) -> None:
        text = self._message()
        if text.startswith("/") and "/" not in text.split()[0][1:]:  # and no path: `/tmp/cat.png what is it?`
            self._command(text)
        elif text.strip():
            self._ask(text)

    def _message(self) -> str:
        line = self._line(">>> ")
        if not line.lstrip().startswith(_QUOTES):
            return line.strip()
        lines = [line.lstrip().removeprefix(_QUOTES)]
        while not lines[-1].rstrip().endswith(_QUOTES):
            lines.append(self._line("... "))
        lines[-1] = lines[-1].rstrip().removesuffix(_QUOTES)
        return "\n".join(lines).strip("\n")

    def _line(self, prompt: str) -> str:
        return as_text(self._read(prompt).encode(errors="surrogateescape"))  # what is pasted may be no UTF-8

    def _ask(self, text: str) -> None:
        pieces = self._conversation.ask(expand(text))
        try:
            print_answer(pieces)
        except KeyboardInterrupt:
            pieces.close()  # ends the request, so that the model is free at once
            click.echo()
            return
        if self._verbose:
            print_usage(self._conversation)

    def _command(self, text: str) -> None:
        name, _, rest = text.partition(" ")
        match name:
            case "/bye" | "/exit" | "/quit":
                raise QuitChat
            case "/help" | "/?":
                click.echo(HELP)
            case "/clear":
                self._conversation.messages.clear()
            case "/show":
                self._show()
            case "/set":
                self._set(rest.strip())
            case _:
                raise InputError(f"unknown command '{name}'", remedy="Type /? for help")

    def _show(self) -> None:
        click.echo(f"model:   {self._conversation.model}")
        click.echo(f"system:  {self._conversation.system or '-'}")
        for name, value in self._conversation.parameters.items():
            click.echo(f"{name}:  {json.dumps(value)}")

    def _set(self, text: str) -> None:
        what, _, rest = text.partition(" ")
        name, _, value = rest.strip().partition(" ")
        match what:
            case "system":
                self._conversation.system = rest.strip() or None
            case "verbose" | "quiet":
                self._verbose = what == "verbose"
            case "num_ctx":
                raise _context_is_configured(self._conversation.model, name)
            case "parameter" if name == "num_ctx":
                raise _context_is_configured(self._conversation.model, value)
            case "parameter" if value:
                self._conversation.parameters[_ALIASES.get(name, name)] = _value(value)
            case _:
                raise InputError(f"'/set {text}' says nothing", remedy="Type /? for help")


def _context_is_configured(model: str, tokens: str) -> InputError:
    """Return why a running model keeps its context: it is what its memory was made for."""
    remedy = f"Leave, and run: dmrc configure --context-size {tokens or 'TOKENS'} {model}"
    return InputError("the context size belongs to the runner, not to a conversation", remedy=remedy)


def _value(text: str) -> JsonValue:
    """Return JSON where it is JSON, and text otherwise."""
    try:
        value: JsonValue = json.loads(text)
    except ValueError:
        return text
    return value


def terminal(history: Path) -> ReadLine:
    """Return a reader of lines with editing and history; the history is a private file.

    Where stdout goes elsewhere the prompt is on stderr: stdout is the answers.
    """
    from prompt_toolkit import PromptSession
    from prompt_toolkit.history import FileHistory
    from prompt_toolkit.output import create_output

    history.touch(mode=0o600)
    prompts: PromptSession[str] = PromptSession(
        history=FileHistory(str(history)),
        enable_open_in_editor=True,
        placeholder="Type a message, or /? for help",
        output=create_output(always_prefer_tty=True),
    )
    return prompts.prompt
