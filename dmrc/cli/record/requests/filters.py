"""Options that say which requests are meant; `read_filter` understands them."""

from __future__ import annotations

from collections.abc import Callable
from typing import ParamSpec, TypeVar

import click

from dmrc.cli.options import model_name

P = ParamSpec("P")
R = TypeVar("R")

_OPTIONS = (
    click.option("--project", help="Only of this compose project."),
    click.option("--service", help="Only of this service."),
    click.option("--model", type=model_name, help="Only of this model: its key, its name, or its full reference."),
    click.option("--node", help="Only those that a replica on this node answered: see dmrc ps."),
    click.option("--status", metavar="CODE", help="Only with this HTTP status: 404, or 4xx."),
    click.option("--errors", is_flag=True, help="Only those that failed."),
    click.option("--slow", metavar="TIME", is_flag=False, flag_value="5s", help="Only slower than this. [5s]"),
    click.option("--since", metavar="TIME", help="Only since then: 10m, 2h, 7d, or 2026-01-31."),
    click.option("--before", metavar="TIME", help="Only before then: likewise."),
    click.option("--grep", metavar="TEXT", help="Only with all these words in prompt or answer."),
)


def filter_options(command: Callable[P, R]) -> Callable[P, R]:
    """Add the options; the command gets them as arguments, which `dmrc.capture.filters.NAMES` lists."""
    for option in reversed(_OPTIONS):
        command = option(command)
    return command
