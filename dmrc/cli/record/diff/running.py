"""One run of `dmrc diff`: chosen, asked, and compared."""

from __future__ import annotations

import contextlib
import hashlib
import secrets
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, cast

from dmrc.capture.queries import ExchangeFilter
from dmrc.cli.app import App
from dmrc.cli.progress import PullProgress, is_terminal, note
from dmrc.cli.record.diff.wish import body
from dmrc.comparison.changes import Answerer, Changes, source_of
from dmrc.comparison.comparison import Comparison
from dmrc.comparison.machine import ProcessorWatch
from dmrc.comparison.repeating import by_model, report
from dmrc.comparison.selection import select
from dmrc.comparison.sendable import MASKED, LeftOut, Sendable
from dmrc.comparison.sending import Answered, Repetition, Sender
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


@dataclass(frozen=True, slots=True)
class Asking:
    """How requests are sent."""

    name: str
    """What the daemon calls this run."""
    key: str
    """With this key."""
    temperature: float | None
    """With this one in place of their own; None leaves it."""
    parallel: int
    """So many at the same time."""


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
            orders = _orders(begun, chosen, sources)
            watch = ProcessorWatch(int(str(app.daemon.ensure()["pid"])))
            try:
                asking = Asking(str(begun["name"]), key, changes.temperature, parallel)
                # Closed here: an interrupt may come when no answer is waited for.
                with _progress(len(chosen)) as show, contextlib.closing(_answers(app, orders, asking, show)) as answers:
                    for one in answers:
                        answered.append(one)
                        show("asking", len(answered))
            except (KeyboardInterrupt, DmrcError) as error:
                if not answered:
                    raise
                problem = error
            noise = watch.noise() if _is_here(begun) else None
            with contextlib.suppress(DaemonError):  # the problem says it
                app.daemon.request("POST", "/requests/flush")
    if parallel > 1:
        noise = f"{parallel} at a time slow one another down"
    found = report(app.record, answered, left_out, len(chosen) - len(answered), noise)
    words = f"{len(answered)} requests again: {changes.words()}"
    return Sent(found, words, problem if isinstance(problem, DmrcError) else None)


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
    told = ", ".join(f"{why}: {count}" for why, count in reasons.items())
    remedy = "Add --with-redacted, or see: dmrc requests" if MASKED in reasons else "See: dmrc requests"
    raise NotFoundError(f"none of {len(left_out)} requests can be sent again: {told}", remedy=remedy)


@contextmanager
def _begun(app: App, wish: str) -> Iterator[JsonObject]:
    """Have the daemon know what is to answer for as long as the context lasts, or this process."""
    with contextlib.closing(cast("Any", app.daemon.lines("POST", "/diffs", wish))) as lines:
        yield next(lines)


def _orders(
    begun: JsonObject, chosen: Sequence[Sendable], sources: Sequence[Answerer]
) -> list[tuple[str, list[Repetition]]]:
    """Return what to send to each model; say of which it is not known how it was served."""
    models = cast("list[JsonObject]", begun["models"])
    for (project, _, reference), model in zip(sources, models, strict=True):
        if not model["is_known"]:
            note(
                f"project '{project}' is not up with a model: how it serves '{reference}' is not known, so that has no"
                " options. Run: dmrc up"
            )
    keys = {source: str(model["key"]) for source, model in zip(sources, models, strict=True)}
    return by_model(chosen, keys)


def _is_here(begun: JsonObject) -> bool:
    """Return whether a model is computed on this machine; what another one does, its processors do not tell."""
    options = [cast("JsonObject", model["options"]) for model in cast("list[JsonObject]", begun["models"])]
    return any(one.get("upstream") is None and one.get("host") is None for one in options)


def _answers(
    app: App, orders: Sequence[tuple[str, list[Repetition]]], asking: Asking, show: Callable[[str, int | None], None]
) -> Generator[Answered]:
    """Load each model, send what is for it, and yield the answers."""
    for model, of_model in orders:
        show(f"loading {model}", None)
        loaded = app.daemon.load(asking.name, model)
        if loaded.get("notice"):
            note(str(loaded["notice"]))
        show("asking", None)
        yield from Sender(app.settings.port, asking.key, asking.temperature).send(of_model, asking.parallel)


@contextmanager
def _progress(total: int) -> Iterator[Callable[[str, int | None], None]]:
    """Show what is done, and how many were answered where that changes, on a terminal; elsewhere nothing."""
    if not is_terminal():
        yield lambda _text, _count: None
        return
    import rich.console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(bar_width=20),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
    )
    with Progress(*columns, console=rich.console.Console(stderr=True), transient=True) as progress:
        task = progress.add_task("", total=total)
        yield lambda text, count: progress.update(task, description=text, completed=count)
