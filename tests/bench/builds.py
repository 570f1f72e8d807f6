"""Tokens per second of the builds of llama.cpp on this machine, beside one another, and of speculation with n-grams."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping, Sequence
from statistics import median
from typing import Any

import httpx

from tests.bench.figure import Figure
from tests.dmrc_command import Dmrc, temporary_dmrc
from tests.groups import LLAMA_SERVER
from tests.real_model import smollm2_gguf
from tests.vulkan import llvmpipe_driver, software_card, vulkan_program

_MODEL = "local/smollm2"
_ROUNDS = 5
_STORY = "Tell me a long story about a whale and a ship."
_COPY = "Repeat this text word by word, and nothing else: " + " ".join(
    f"Row {number}: the ship number {number} sails from Bergen to Genoa with {number * 7} crates of salt."
    for number in range(1, 9)
)


def measure() -> list[Figure]:
    """Return the speed of each build as a ratio to the wheel's, asked in turn."""
    with contextlib.ExitStack() as stack:
        start = _starter(stack)
        wheel = start({"PATH": "/usr/bin:/bin"})
        figures = []
        if LLAMA_SERVER is not None:
            binary = start({"DMRC_LLAMA_SERVER": LLAMA_SERVER})
            figures.append(_compare("llama-server compiled here", binary, wheel, _STORY, 96))
            if vulkan_program() is not None and llvmpipe_driver() is not None:
                card = software_card()
                software = start({"DMRC_LLAMA_SERVER": str(card.program), **card.environment})
                figures.append(_compare("the same on llvmpipe, a card that is none", software, binary, _STORY, 8, 1))
        guessing = start({"PATH": "/usr/bin:/bin"}, "--spec-type", "ngram-simple")
        figures.append(_compare("ngram-simple, a text to repeat", guessing, wheel, _COPY, 160))
        figures.append(_compare("ngram-simple, a story", guessing, wheel, _STORY, 96))
        return figures


def _starter(stack: contextlib.ExitStack) -> Callable[..., Dmrc]:
    def start(environment: Mapping[str, str], *flags: str) -> Dmrc:
        dmrc = stack.enter_context(temporary_dmrc())
        dmrc.environment |= environment
        dmrc.ok("package", "--gguf", smollm2_gguf(), _MODEL)
        sizes = ("--context-size", "2048", "--parallel", "1", "--keep-alive", "-1")
        dmrc.ok("configure", _MODEL, *sizes, "--", "--temp", "0", *flags)
        return dmrc

    return start


def _compare(name: str, ours: Dmrc, theirs: Dmrc, text: str, tokens: int, rounds: int = _ROUNDS) -> Figure:
    """Ask both in turn, after a first answer that loads the model."""
    answers: Sequence[list[dict[str, Any]]] = ([], [])
    for number in range(rounds + 1):
        for asked, kept in zip((ours, theirs), answers, strict=True):
            timings = _ask(asked, text, tokens)
            if number:
                kept.append(timings)
    mine, other = (median(float(one["predicted_per_second"]) for one in kept) for kept in answers)
    guessed = sum(int(one.get("draft_n", 0)) for one in answers[0])
    right = sum(int(one.get("draft_n_accepted", 0)) for one in answers[0])
    return Figure(
        name=f"tokens/s: {name}",
        value=mine / other,
        unit="×",
        better="higher",
        ours=f"{mine:.1f}" + (f" ({right} of {guessed} guesses right)" if guessed else ""),
        theirs=f"{other:.1f}",
        runs=rounds,
    )


def _ask(dmrc: Dmrc, text: str, tokens: int) -> dict[str, Any]:
    body = {"model": _MODEL, "messages": [{"role": "user", "content": text}], "max_tokens": tokens, "temperature": 0}
    answered = httpx.post(f"http://127.0.0.1:{dmrc.port}/engines/v1/chat/completions", json=body, timeout=600)
    assert answered.status_code == 200, answered.text
    timings: dict[str, Any] = answered.json()["timings"]
    return timings
