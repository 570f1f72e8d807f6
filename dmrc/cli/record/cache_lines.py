"""What the lens sees of the prompt cache, in lines, safe for a terminal."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from dmrc.cli.record.requests.lines import Screen
    from dmrc.lens.difference import PromptDifference
    from dmrc.lens.look import CacheLook
    from dmrc.lens.service import ServiceLook

_LONGEST = 200


def look_lines(look: CacheLook, screen: Screen) -> Iterator[str]:
    """Yield what one request got from the cache; and why not more, with both texts, where there is a reason.

    Nothing where its engine does not tell what came from a cache.
    """
    from dmrc.capture.summary import plain
    from dmrc.lens.words import WORDS, numbers, sentence

    if look.cached is None:
        return
    yield screen.style(f"cache: {numbers(look)}", dim=True)
    if look.unread is not None:
        yield screen.style(f"       not compared with a former prompt: {look.unread}", dim=True)
    why = sentence(look)
    if look.cause is None or why is None:
        return
    yield screen.style(f"  {plain(why, _LONGEST)}", fg="yellow")
    if look.difference is not None:
        yield from difference_lines(look, look.difference, screen)
    yield f"  {WORDS[look.cause].remedy}"


def difference_lines(look: CacheLook, difference: PromptDifference, screen: Screen) -> Iterator[str]:
    """Yield both texts around the first place that differs, and whose the former one is."""
    from dmrc.capture.summary import plain
    from dmrc.lens.words import where

    yield screen.style(f"  {plain(where(look, difference), _LONGEST)}", dim=True)
    for name, text in (("before", difference.before), ("now", difference.now)):
        shown = screen.style("(nothing)", dim=True) if text is None else f"'{plain(text, _LONGEST)}'"
        yield f"    {name + ':':8}{shown}"


def service_lines(service: ServiceLook, screen: Screen) -> Iterator[str]:
    """Yield what the requests of a service got from the cache, and the most frequent reasons why not more."""
    from dmrc.capture.summary import cells, plain, short_id
    from dmrc.lens.words import WORDS

    row = cells(service.looks[-1].exchange, "")
    yield f"{screen.style(row.who, bold=True)}  {row.model}  {service.numbers}"
    if service.unread is not None:
        yield screen.style(f"  prompts were not compared: {service.unread}", dim=True)
    for number, cause in enumerate(service.causes):
        yield screen.style(f"  {plain(cause.sentence(service.compared), _LONGEST)}", fg="yellow")
        if number == 0 and cause.example.difference is not None:
            yield from difference_lines(cause.example, cause.example.difference, screen)
        id = screen.style(short_id(cause.example.exchange.id), fg="cyan")
        yield f"  {WORDS[cause.kind].remedy} See: dmrc requests show {id}"
