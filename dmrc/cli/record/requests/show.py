"""`dmrc requests show`: one request with its answer."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING

import click

from dmrc.cli.app import App, pass_app
from dmrc.cli.options import exchange_id, json_option
from dmrc.cli.record.messages import conversation_lines

if TYPE_CHECKING:
    from dmrc.cli.record.requests.lines import Screen
    from dmrc.exchange import Exchange
    from dmrc.lens.look import CacheLook


@click.command(epilog="Example: dmrc requests show aed47506 --raw --part response")
@click.argument("id", type=exchange_id)
@click.option("--raw", is_flag=True, help="Print the bodies, byte by byte as they were recorded.")
@click.option("--part", type=click.Choice(["request", "response"]), help="With --raw: only this body.")
@json_option
@pass_app
def show(app: App, id: str, raw: bool, part: str | None, as_json: bool) -> None:
    """Show the request ID as a conversation, with its times. The short id that the list shows is enough.

    Where tokens of its prompt were computed again, the first place is shown where it differs from the former one.
    """
    from dmrc.capture.summary import to_json
    from dmrc.cli.record.requests.lines import Screen
    from dmrc.lens.record import look

    exchange = app.record.get(id)
    if as_json:
        document = to_json(exchange, with_content=True)
        seen = look(app.record, exchange)
        click.echo(json.dumps({**document, "prompt_cache": None if seen is None else seen.to_json()}, indent=2))
    elif raw:
        bodies = {"request": exchange.request_body, "response": exchange.response_body}
        sys.stdout.buffer.write(bodies[part] if part else b"\n".join(bodies.values()))
        if part is None or sys.stdout.isatty():
            click.echo()
    else:
        for line in page_lines(exchange, look(app.record, exchange), Screen.of_stdout()):
            click.echo(line)


def page_lines(exchange: Exchange, seen: CacheLook | None, screen: Screen) -> Iterator[str]:
    """Yield the lines of a request; `seen` is what its prompt had of the cache, where somebody looked."""
    from dmrc.capture.summary import made_on_purpose, plain
    from dmrc.cli.record.cache_lines import look_lines

    yield from _head(exchange, screen)
    if fault := made_on_purpose(exchange):
        yield screen.style(fault, fg="yellow")
    if exchange.error_message:
        yield screen.style(f"error: {plain(exchange.error_message, 500)}", fg="red")
    if seen is not None:
        yield from look_lines(seen, screen)
    yield from conversation_lines(exchange, screen)
    cut = [name for name in ("request", "response") if getattr(exchange, f"{name}_truncated")]
    if cut:
        yield ""
        yield screen.style(f"Only the beginning of the {' and the '.join(cut)} was recorded.", dim=True)


def _head(exchange: Exchange, screen: Screen) -> Iterator[str]:
    from dmrc.capture.summary import cells, outcome, plain

    row = cells(exchange)
    colour = {"done": "green", "failed": "red", "cancelled": "yellow"}[outcome(exchange)]
    reason = plain(exchange.finish_reason, 40) if exchange.finish_reason else ""
    status = screen.style(" ".join(filter(None, (row.status, reason))), fg=colour)
    yield f"{screen.style(exchange.id, fg='cyan')}  {exchange.method} {plain(exchange.path, 200)}  {status}"
    reference = exchange.model_reference or exchange.model_requested
    who = [
        row.who,
        f"container {exchange.container}" if exchange.container else "",
        plain(exchange.user_agent or "", 60),
        _place(exchange),
    ]
    yield "  ".join(filter(None, (*who, f"{row.model} = {plain(reference, 200)}" if reference else "")))
    yield screen.style(_times(exchange), dim=True)
    if wishes := _wishes(exchange):
        yield screen.style(wishes, dim=True)


def _place(exchange: Exchange) -> str:
    """Return which of several replicas answered: `replica r2 on node-b`, `node box` where both have one name."""
    from dmrc.capture.summary import plain

    node, replica = exchange.node, exchange.replica if exchange.replica != exchange.node else None
    named = {"replica": replica, "on" if replica else "node": node}
    return " ".join(f"{word} {plain(name, 60)}" for word, name in named.items() if name)


def _wishes(exchange: Exchange) -> str:
    """Return what was asked for beside the words: `Temperature 0.2 · Max tokens 400 · tools find_orders`."""
    from dmrc.capture.bodies import ParsedBodies
    from dmrc.capture.parameters import parameters_of, tools_of
    from dmrc.capture.summary import plain

    request = ParsedBodies().whole(exchange.request_body)
    parts = [f"{plain(one.label, 40)} {plain(one.text, 60)}" for one in parameters_of(exchange, request)]
    if tools := tools_of(request):
        parts.append(f"tools {plain(', '.join(one.name for one in tools), 200)}")
    return " · ".join(parts)


def _times(exchange: Exchange) -> str:
    """Return how long each part took, and how many tokens it was about."""
    from datetime import datetime

    from dmrc.figures import span_text

    parts = [datetime.fromtimestamp(exchange.received_at).strftime("%Y-%m-%d %H:%M:%S")]
    spans = {
        "load": exchange.load_ms,
        "queue": exchange.queue_ms,
        "first token": exchange.first_token_ms,
        "total": exchange.total_ms,
    }
    parts += [f"{name} {span_text(value)}" for name, value in spans.items() if value is not None]
    if exchange.prompt_tokens is not None:
        cached = f" ({exchange.cached_tokens} cached)" if exchange.cached_tokens else ""
        limit = f" of {exchange.context_tokens}" if exchange.context_tokens else ""
        parts.append(f"{exchange.prompt_tokens}{cached} → {exchange.completion_tokens or 0} tokens{limit}")
    rates = {"prefill": exchange.prompt_tokens_per_second, "decode": exchange.completion_tokens_per_second}
    parts += [f"{name} {value:.0f} tok/s" for name, value in rates.items() if value is not None]
    return " · ".join(parts)
