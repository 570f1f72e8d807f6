"""One run of `dmrc diff`: chosen, asked, and compared."""

from __future__ import annotations

import contextlib
import hashlib
import secrets
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, cast

from dmrc.capture.queries import ExchangeFilter
from dmrc.cli.app import App
from dmrc.cli.progress import PullProgress, is_terminal, note, spinner
from dmrc.cli.record.diff.sending import Answered, Repetition, Sender
from dmrc.cli.record.diff.wish import Answerer, Changes, body, source_of
from dmrc.comparison.comparison import Comparison
from dmrc.comparison.selection import select
from dmrc.comparison.sendable import LeftOut, Sendable
from dmrc.errors import DaemonError, DmrcError, NotFoundError
from dmrc.fields import JsonObject
from dmrc.project import KEY_PREFIX


@dataclass(frozen=True, slots=True)
class Sent:
    """What came of it."""

    report: Comparison
    """The comparison of what was answered."""
    words: str
    """What was asked of what, in a line."""
    problem: DmrcError | None
    """Why not all was sent; None where all was, or somebody interrupted it."""


def run(app: App, changes: Changes, selection: Mapping[str, Any], parallel: int) -> Sent:
    """Send the requests that are chosen, and compare.

    Raises:
        NotFoundError: None is recorded that can be sent.
        DmrcError: What is to answer cannot be served.
    """
    chosen, left_out = _chosen(app, selection)
    sources = list(dict.fromkeys(map(source_of, chosen)))
    key = KEY_PREFIX + secrets.token_urlsafe(32)
    wish = body(changes, sources, hashlib.sha256(key.encode()).hexdigest())
    answered: list[Answered] = []
    problem: BaseException | None = None
    with app.daemon.needed():
        if changes.model is not None:
            with PullProgress() as progress:
                app.models.pull(changes.model, progress.of(changes.model), cancelled=progress.cancelled)
        with _begun(app, wish) as begun:
            models = dict(zip(sources, _models(app, begun, sources), strict=True))
            orders = [Repetition(sent, models[source_of(sent)]) for sent in chosen]
            orders.sort(key=lambda order: order.model)  # each model is loaded once; the order of each stays
            sender = Sender(app.settings.port, key, changes.temperature)
            try:
                with _progress(len(orders)) as advance:
                    for one in sender.send(orders, parallel):
                        answered.append(one)
                        advance()
            except (KeyboardInterrupt, DaemonError) as error:
                problem = error
            with contextlib.suppress(DaemonError):  # the problem says it
                app.daemon.request("POST", "/requests/flush")
    report = _report(app, answered, left_out, len(chosen) - len(answered), parallel)
    words = f"{len(answered)} requests again: {changes.words()}"
    return Sent(report, words, problem if isinstance(problem, DmrcError) else None)


def _chosen(app: App, selection: Mapping[str, Any]) -> tuple[list[Sendable], list[LeftOut]]:
    from dmrc.capture.filters import read_moment

    query = ExchangeFilter(
        project=selection["project"],
        service=selection["service"],
        model=selection["model_key"],
        since=read_moment(selection["since"], "--since"),
    )
    chosen, left_out = select(app.record, query, selection["last"], with_redacted=selection["with_redacted"])
    if chosen:
        return chosen, left_out
    if not left_out:
        raise NotFoundError("no request was recorded that matches", remedy="See: dmrc requests")
    reasons = Comparison.of((), left_out).reasons()
    told = ", ".join(f"{count} {why}" for why, count in reasons.items())
    raise NotFoundError(f"none of {len(left_out)} requests can be sent again: {told}", remedy="See: dmrc requests")


@contextmanager
def _begun(app: App, wish: str) -> Iterator[JsonObject]:
    """Have the daemon know what is to answer for as long as the context lasts, or this process."""
    with contextlib.closing(cast("Any", app.daemon.lines("POST", "/diffs", wish))) as lines:
        yield next(lines)


def _models(app: App, begun: JsonObject, sources: Sequence[Answerer]) -> list[str]:
    """Load what is to answer, and return for each source by what name to ask for it."""
    models = cast("list[JsonObject]", begun["models"])
    for (project, _, reference), model in zip(sources, models, strict=True):
        if not model["is_known"]:
            note(
                f"project '{project}' is not up with a model: how it serves '{reference}' is not known, so that has no"
                " options. Run: dmrc up"
            )
    names = list(dict.fromkeys(str(model["key"]) for model in models))
    for name in names:
        with spinner(f"loading {name}"):
            loaded = app.daemon.load(str(begun["name"]), name)
        if loaded.get("notice"):
            note(str(loaded["notice"]))
    return [str(model["key"]) for model in models]


@contextmanager
def _progress(total: int) -> Iterator[Callable[[], None]]:
    """Show how many were answered, on a terminal; elsewhere nothing."""
    if not is_terminal():
        yield lambda: None
        return
    import rich.console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    columns = (TextColumn("asking"), BarColumn(bar_width=20), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=rich.console.Console(stderr=True), transient=True) as progress:
        task = progress.add_task("", total=total)
        yield lambda: progress.advance(task)


def _report(
    app: App, answered: Sequence[Answered], left_out: Sequence[LeftOut], not_sent: int, at_a_time: int
) -> Comparison:
    pairs, lost = [], []
    for one in answered:
        try:
            pairs.append((one.sent, app.record.get(one.id)))
        except NotFoundError:
            lost.append(LeftOut(one.sent.then, "was answered, and that was not recorded"))
    return Comparison.of(pairs, [*left_out, *lost], not_sent, at_a_time)
