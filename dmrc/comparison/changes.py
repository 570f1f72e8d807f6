"""What is to answer requests that are sent again, and what answered them then."""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from dmrc.capture.summary import model_name
from dmrc.comparison.sendable import Sendable
from dmrc.errors import InputError
from dmrc.exchange import KEY_SCOPE
from dmrc.project import ServingOptions, Upstream

Answerer = tuple[str | None, str | None, str]
"""What answered then: project, key of the model there, reference."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Changes:
    """What is different from then."""

    model: str | None = None
    """What answers; None: the same."""
    context_size: int | None = None
    """Tokens of its context."""
    flags: tuple[str, ...] = ()
    """Flags of its engine, each as it is written in a shell: `--temp 0.2`."""
    engine: str | None = None
    """What serves it."""
    temperature: float | None = None
    """In each request."""
    upstream: str | None = None
    """URL of the server that answers in its place."""
    upstream_model: str | None = None
    """What that server calls the model."""
    upstream_key: str | None = field(default=None)
    """Variable that holds its key."""

    def words(self) -> str:
        """Return it in words: `ai/smollm2:360M, --temp 0.2`; `nothing changed` where nothing is."""
        said = [
            self.model or "",
            f"context of {self.context_size}" if self.context_size else "",
            *self.flags,
            f"engine {self.engine}" if self.engine else "",
            "" if self.temperature is None else f"temperature {self.temperature:g}",
            f"{self.upstream_model or 'the same model'} at {self.upstream}" if self.upstream else "",
        ]
        return ", ".join(filter(None, said)) or "nothing changed"

    def check(self) -> None:
        """Refuse what contradicts itself, before anything is asked.

        Raises:
            InputError: It does.
        """
        if self.upstream is None:
            if self.upstream_model or self.upstream_key:
                raise InputError("--upstream-model and --upstream-key are for --upstream", remedy="Add --upstream URL")
            return
        local = {"--model": self.model, "--context-size": self.context_size, "--flag": self.flags}
        for name, value in {**local, "--engine": self.engine}.items():
            if value:
                remedy = "Use --upstream-model" if name == "--model" else "Leave it out"
                raise InputError(f"{name} has no effect on an upstream, which decides that itself", remedy=remedy)

    def options(self, sources: Sequence[Answerer]) -> ServingOptions:
        """Return what is different as options of a model.

        Raises:
            InputError: A flag cannot be read, or it is not said which model an upstream is to be asked for.
            ProjectError: The address of the upstream is none.
        """
        flags = tuple(word for flag in self.flags for word in _words(flag))
        upstream = Upstream.parse_one(self._place(sources), "", "--upstream") if self.upstream else None
        return ServingOptions(
            context_size=self.context_size, runtime_flags=flags or None, engine=self.engine, upstream=upstream
        )

    def _place(self, sources: Sequence[Answerer]) -> dict[str, object]:
        names = sorted({model_name(reference) for _, _, reference in sources})
        if self.upstream_model is None and len(names) > 1:
            raise InputError(
                f"these requests are of several models ({', '.join(names)})",
                remedy="Say which one to ask the upstream for: --upstream-model NAME",
            )
        return {"url": self.upstream, "model": self.upstream_model or names[0], "key": self.upstream_key}


def source_of(sent: Sendable) -> Answerer:
    """Return what answered a request."""
    then = sent.then
    return then.project, then.model_key, str(then.model_reference)


def name_of(sources: Iterable[Answerer]) -> str:
    """Return what the record calls it, after `diff:`: the project; where there are several, or none, `requests`."""
    projects = {(project or "").removeprefix(KEY_SCOPE) for project, _, _ in sources}
    return (projects.pop() if len(projects) == 1 else "") or "requests"


def _words(flag: str) -> list[str]:
    try:
        return shlex.split(flag)
    except ValueError as error:
        raise InputError(
            f"flag '{flag}' cannot be read: {error}", remedy="Write it as in a shell: --temp 0.2"
        ) from error
