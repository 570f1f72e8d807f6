"""`dmrc trace`: one conversation as a waterfall."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from dmrc.cli.app import App, pass_app
from dmrc.cli.options import exchange_id, json_option

if TYPE_CHECKING:
    from dmrc.conversations.turns import ConversationTurn, ToldConversation

_KNOWN_BEFORE = 20


@click.command(epilog="Example: dmrc trace aed47506")
@click.argument("id", type=exchange_id)
@click.option("-n", "--last", type=click.IntRange(1, 1000), default=200, help="How many of its last requests. [200]")
@json_option
@pass_app
def trace(app: App, id: str, last: int, as_json: bool) -> None:
    """Show the conversation of the request ID: who asked which model when, what took how long, and which tools ran.

    A conversation is the requests of one run of an app. ID is that of the conversation, or of any of its requests; the
    short id that dmrc requests shows is enough. Of each request only what is new in it is printed.

    Works without the daemon.
    """
    import json

    from dmrc.cli.progress import note
    from dmrc.cli.record.requests.lines import Screen
    from dmrc.cli.record.trace_lines import trace_lines
    from dmrc.conversations.record import ConversationRecord
    from dmrc.conversations.turns import conversation

    record = ConversationRecord(app.record.path)
    found = record.find(id)
    read = record.requests(found, last + _KNOWN_BEFORE)
    shown = read[-last:]
    total = record.count(found)
    told = conversation(shown, read[:-last], total - len(shown) + 1)
    if as_json:
        click.echo(json.dumps(_document(found, told, total), indent=2, ensure_ascii=False))
        return
    if total > len(shown):
        note(f"the last {len(shown)} of {total} requests; more with --last")
    for line in trace_lines(found, told, record.question(found), Screen.of_stdout()):
        click.echo(line)


def _document(id: str, told: ToldConversation, total: int) -> dict[str, Any]:
    """Return it as JSON; milliseconds are from the beginning of what is shown."""
    return {
        "conversation_id": id,
        "total": total,
        "started_at": told.started_at,
        "duration_ms": told.duration_ms,
        "requests": [_request(turn) for turn in told.turns],
        "app": [
            {"start_ms": one.start_ms, "end_ms": one.end_ms, "tools": list(one.names), "service": one.service}
            for one in told.spans
        ],
    }


def _request(turn: ConversationTurn) -> dict[str, Any]:
    from dataclasses import asdict

    from dmrc.capture.summary import outcome
    from dmrc.ui.timeline import segments

    exchange = turn.exchange
    return {
        "number": turn.number,
        "id": exchange.id,
        "service": turn.service,
        "model": turn.model,
        "start_ms": turn.start_ms,
        "total_ms": exchange.total_ms,
        "parts": {one.kind: one.milliseconds for one in segments(exchange)},
        "status": exchange.status,
        "outcome": outcome(exchange),
        "error": exchange.error_message,
        "prompt_tokens": exchange.prompt_tokens,
        "completion_tokens": exchange.completion_tokens,
        "repeated": turn.repeated,
        "said": [asdict(one) for one in turn.said],
        "answers": [asdict(one) for one in turn.answers],
        "calls": [asdict(one) for one in turn.calls],
    }
