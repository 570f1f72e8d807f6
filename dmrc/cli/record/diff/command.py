"""`dmrc diff`: the requests of an application, sent to something else, and what is different in the answers."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from dmrc.cli.app import App, pass_app
from dmrc.cli.options import json_option, model_name

if TYPE_CHECKING:
    from dmrc.cli.record.diff.running import Sent
    from dmrc.comparison.comparison import Comparison

_CHANGES = (
    click.option("--model", type=model_name, metavar="MODEL", help="Ask this model; a missing one is pulled first."),
    click.option("--context-size", type=click.IntRange(min=1), metavar="TOKENS", help="With another context."),
    click.option("--flag", "flags", multiple=True, metavar="FLAG", help='With one more engine flag: "--temp 0.2".'),
    click.option("--temperature", type=click.FloatRange(min=0), metavar="T", help="With this temperature."),
    click.option("--engine", metavar="NAME", help="With another engine."),
    click.option("--upstream", metavar="URL", help="Ask another OpenAI-compatible server."),
    click.option("--upstream-model", metavar="NAME", help="What that server calls the model."),
    click.option("--upstream-key", metavar="VARIABLE", help="The environment variable that holds its key."),
)
_SELECTION = (
    click.option("--project", help="Only of this compose project."),
    click.option("--service", help="Only of this service."),
    click.option("--model-key", metavar="MODEL", help="Only of this model: its key, its name, or its full reference."),
    click.option("--since", metavar="TIME", help="Only since then: 10m, 2h, 7d, or 2026-01-31."),
    click.option("--last", type=click.IntRange(1, 10_000), default=50, show_default=True, help="How many at most."),
    click.option("--with-redacted", is_flag=True, help="Those with masked secrets, too: with the mask in their place."),
)


def _options(command: Callable[..., int]) -> Callable[..., int]:
    for option in reversed((*_SELECTION, *_CHANGES)):
        command = option(command)
    return command


@click.command(
    epilog="Example: dmrc diff --service api --last 50 --model ai/smollm2:360M --fail-on schema,tools,p95+20%"
)
@_options
@click.option("--parallel", type=click.IntRange(1, 64), default=1, show_default=True, help="Requests at the same time.")
@click.option("--fail-on", "fail_on", multiple=True, metavar="WORD,…", help="Exit with 1 on these differences.")
@click.option("--html", type=click.Path(path_type=Path, dir_okay=False), metavar="FILE", help="Write a page, too.")
@json_option
@pass_app
def diff(app: App, /, parallel: int, fail_on: tuple[str, ...], html: Path | None, as_json: bool, **given: Any) -> int:
    """Send recorded requests again, exactly as the application sent them, and compare the answers.

    Without an option that changes something, the same model is asked again. What is different is listed with the
    regressions first: error, schema (JSON that was valid and is not), tools (other calls or arguments), cut, refusal,
    longer, slower; then text (other words). A request with something masked, or with pictures, cannot be sent again
    exactly: it is left out, and counted. Nothing of the application changes: its models, keys and project stay as they
    are, and the record marks these requests as diff.

    --fail-on takes these words, and p50+N%, p95+N% (times) and tokens+N%. Ctrl+C compares what was answered so far.
    """
    from dmrc.cli.record.diff.running import run
    from dmrc.comparison.changes import Changes
    from dmrc.comparison.thresholds import thresholds

    limits = thresholds(fail_on)
    _check(parallel, html, [one.name for one in limits])
    names = ("project", "service", "model_key", "since", "last", "with_redacted")
    selection = {name: given.pop(name) for name in names}
    changes = Changes(**given)
    changes.check()
    sent = run(app, changes, selection, parallel)
    failures = [failure for one in limits if (failure := one.failure(sent.report)) is not None]
    _tell(sent.report, failures, as_json=as_json)
    if html is not None:
        _write(html, sent, failures)
    if sent.problem is not None:
        raise sent.problem
    if sent.report.not_sent:
        return 130
    return 1 if failures else 0


def _check(parallel: int, html: Path | None, limits: Sequence[str]) -> None:
    """Refuse what would be seen after all was sent only."""
    from dmrc.errors import InputError

    if parallel > 1 and "slower" in limits:
        raise InputError(
            "--fail-on slower does not go with --parallel: answers side by side slow one another down",
            remedy="Leave --parallel out, or use p95+20%",
        )
    if html is not None and not html.parent.is_dir():
        raise InputError(f"'{html}' cannot be written: there is no directory '{html.parent}'")


def _tell(report: Comparison, failures: Sequence[str], *, as_json: bool) -> None:
    import json

    from dmrc.cli.progress import note
    from dmrc.cli.record.diff.lines import lines
    from dmrc.cli.record.requests.lines import Screen

    if as_json:
        click.echo(json.dumps({**report.to_json(), "failures": list(failures)}, indent=2))
    else:
        for line in lines(report, Screen.of_stdout()):
            click.echo(line)
    for failure in failures:
        note(f"fails by --fail-on: {failure}")


def _write(path: Path, sent: Sent, failures: Sequence[str]) -> None:
    """Write a file that only this user can read: it holds what people asked."""
    from dmrc.cli.record.requests.export import write_private
    from dmrc.comparison.page import page

    write_private(path, page(sent.report, sent.words, failures))
