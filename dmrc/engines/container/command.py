"""The `command` of a person for a server that dmrc does not know: its placeholders, and what stands for them."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from dmrc.engines.container.order import AUTO, PORT, SOCKET
from dmrc.errors import InputError, UnsupportedError
from dmrc.project import DEFAULT_CONTEXT_SIZE, ServingOptions
from dmrc.suggestions import did_you_mean

PLACEHOLDERS = ("model", "name", "context_size", "parallel", "socket", "port")
"""What may stand in braces."""

# A word in braces and nothing else: `{"a": 1}`, which some servers take, is none.
_PLACEHOLDER = re.compile(r"\{(\w+)\}")


def check(options: ServingOptions, companions: Sequence[str]) -> None:
    """Check a model's `image` and `command`.

    Raises:
        InputError: A placeholder is unknown, or one is missing.
        UnsupportedError: Something beside them has no effect on a server that dmrc does not know.
    """
    if options.command is None:
        return
    if options.image in (None, AUTO):
        raise InputError(
            "x-dmrc.command must come with the x-dmrc.image whose server it is for",
            remedy="Name the image; llama.cpp's own takes runtime_flags in place of a command",
        )
    named = [name for word in options.command for name in _PLACEHOLDER.findall(word)]
    for name in named:
        if name not in PLACEHOLDERS:
            known = ", ".join(f"{{{each}}}" for each in PLACEHOLDERS)
            raise InputError(
                f"x-dmrc.command has no placeholder '{{{name}}}'{did_you_mean(name, PLACEHOLDERS)}",
                remedy=f"Known: {known}",
            )
    _check_needed(named)
    _check_cards(options)
    if options.runtime_flags:
        raise UnsupportedError(
            "runtime_flags have no effect beside x-dmrc.command", remedy="Write them into x-dmrc.command"
        )
    beside = [*companions, *(["chat_template"] if options.chat_template else [])]
    if beside:
        raise UnsupportedError(
            f"{beside[0]} has no effect beside x-dmrc.command",
            remedy="Remove it, or leave x-dmrc.command out, for an image of llama.cpp's server",
        )


def _check_cards(options: ServingOptions) -> None:
    """Refuse what is said of cards to a server of which nobody knows what it takes of them."""
    if options.device not in (None, "auto", "cpu"):
        raise UnsupportedError(
            f"a server with an x-dmrc.command of its own takes no single card, as x-dmrc.device '{options.device}'",
            remedy="Write device: auto, for all cards of this machine, or device: cpu",
        )
    if options.gpu == "required":
        raise UnsupportedError(
            "gpu: required has no effect beside x-dmrc.command, whose server's memory on cards is not known",
            remedy="Remove it, or leave x-dmrc.command out, for an image of llama.cpp's server",
        )


def _check_needed(named: Sequence[str]) -> None:
    """Refuse a command that says neither which model nor where to listen: nobody else does."""
    if "model" not in named:
        raise InputError("x-dmrc.command must say where the model is", remedy="Write {model} where its path belongs")
    if ("socket" in named) == ("port" in named):
        raise InputError(
            "x-dmrc.command must say where the server listens, by {socket} or by {port}",
            remedy='Write, for example, "--uds", "{socket}", or "--port", "{port}"',
        )


def uses_port(command: Sequence[str] | None) -> bool:
    """Return whether a checked command has its server listen on a port, and on no unix socket."""
    return any("{port}" in word for word in command or ())


def filled(command: Sequence[str], model: str, name: str, options: ServingOptions, parallel: int) -> list[str]:
    """Return a checked command with everything in place of its placeholders; `model` is a path in the container."""
    values = {
        "model": model,
        "name": name,
        "context_size": str(options.context_size or DEFAULT_CONTEXT_SIZE),
        "parallel": str(parallel),
        "socket": SOCKET,
        "port": str(PORT),
    }
    return [_filled(word, values) for word in command]


def _filled(word: str, values: Mapping[str, str]) -> str:
    return _PLACEHOLDER.sub(lambda match: values[match[1]], word)
