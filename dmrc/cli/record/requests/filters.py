"""Options that say which requests are meant, and the filter that they come to."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar

import click

from dmrc.cli.app import App
from dmrc.cli.options import model_name

if TYPE_CHECKING:
    from dmrc.capture.queries import ExchangeFilter

P = ParamSpec("P")
R = TypeVar("R")

_OPTIONS = (
    click.option("--project", help="Only of this compose project."),
    click.option("--service", help="Only of this service."),
    click.option("--model", type=model_name, help="Only of this model: its key, its name, or its full reference."),
    click.option("--node", help="Only those that a replica on this node answered: see dmrc ps."),
    click.option("--status", metavar="CODE", help="Only with this HTTP status: 404, or 4xx."),
    click.option(
        "--operation", metavar="NAME", help="Only of this kind: chat, completion, embedding, response, rerank."
    ),
    click.option("--errors", is_flag=True, help="Only those that failed."),
    click.option("--cancelled", is_flag=True, help="Only those that were cancelled, or whose caller hung up."),
    click.option("--slow", metavar="TIME", is_flag=False, flag_value="5s", help="Only slower than this. [5s]"),
    click.option("--since", metavar="TIME", help="Only since then: 10m, 2h, 7d, or 2026-01-31."),
    click.option("--before", metavar="TIME", help="Only before then: likewise."),
    click.option("--conversation", metavar="ID", help="Only of the conversation of this request: see dmrc trace."),
    click.option("--session", metavar="NAME", help="Only with this session id, which callers send in a header."),
    click.option("--trace", metavar="ID", help="Only of this trace: 32 hex digits of callers' traceparent."),
    click.option("--grep", metavar="TEXT", help="Only with all these words in prompt or answer."),
)


def filter_options(command: Callable[P, R]) -> Callable[P, R]:
    """Add the options; the command gets them as arguments, which `dmrc.capture.filters.NAMES` lists."""
    for option in reversed(_OPTIONS):
        command = option(command)
    return command


def chosen(app: App, given: Mapping[str, Any]) -> ExchangeFilter:
    """Return the filter that these options mean. A conversation may be named by any of its requests, in short too.

    Raises:
        InputError: One of them means nothing; it is named.
        NotFoundError: There is no such conversation.
    """
    from dmrc.capture.filters import read_filter

    query = read_filter(given, "--")
    if query.conversation is None:
        return query
    from dmrc.conversations.record import ConversationRecord

    return replace(query, conversation=ConversationRecord(app.record.path).find(query.conversation))
